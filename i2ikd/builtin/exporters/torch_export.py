"""Exporter ``torch-export``: a program of ``torch.export`` (``.pt2``), called as the network is."""

from __future__ import annotations

import inspect
import io
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from i2ikd.errors import UserError
from i2ikd.export_form import free_axes, used_conditions
from i2ikd.exporter import Delivered, Exporter, ExportRequest, Precision
from i2ikd.files import write_atomically
from i2ikd.network import to_memory_format
from i2ikd.sample import Batch


class TorchExport(Exporter):
    """A ``torch.export`` program, which needs neither i2ikd nor the plugin of the network.

    Run it with ``torch.export.load(path).module()(input, **conditions)``: complex conditions stay complex, and
    conditions that the output does not depend on are no inputs. Batch, height and width are free. It contains no
    example inputs. In bf16, the program runs the network under autocast.
    """

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "bf16")

    def write(self, request: ExportRequest, path: Path) -> None:
        """Write the program; see ``Exporter.write``."""
        network = _Autocast(request.network) if request.precision == "bf16" else request.network
        image, conditions = _arguments(request, request.batch)
        network = _with_named_conditions(network, list(conditions))
        bound = inspect.signature(network.forward).bind(image, **conditions).arguments
        tensors = {"input": image, **conditions}
        free = {id(tensors[name]): axes for name, axes in free_axes(tensors, request.fixed).items()}
        dynamic = torch.export.Dim.DYNAMIC
        shapes = pytree.tree_map_only(Tensor, lambda t: dict.fromkeys(free[id(t)], dynamic), dict(bound))
        try:
            with torch.no_grad():
                program = torch.export.export(network, (image,), conditions, dynamic_shapes=shapes)
        except Exception as error:
            raise UserError(
                f"torch-export: {type(request.network).__name__} cannot be traced: {_line(error)}"
            ) from error
        program.example_inputs = None
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        write_atomically(path, buffer.getvalue())

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        """Load the program; see ``Exporter.load``."""
        module = to_memory_format(torch.export.load(path).module(), "cpu")
        network = request.network
        image, conditions = _arguments(request, request.batch)
        tensors = {"input": image, **conditions}

        def inputs(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return _arguments(request, batch.to("cpu", memory_format=torch.channels_last))

        @torch.inference_mode()
        def call(function: nn.Module, arguments: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
            output: Tensor = function(arguments[0], **arguments[1])
            return output.float()

        return Delivered(
            runtime=f"torch {torch.__version__}",
            inputs=inputs,
            run=lambda arguments: call(module, arguments),
            reference=lambda batch: call(network, _arguments(request, batch)),
            interface=interface(tensors, request.fixed),
        )


class _Autocast(nn.Module):
    """Run a network under autocast to bfloat16.

    Args:
        network: called as ``network(input, **conditions)``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Return the image [B, C, H, W] in float32."""
        with torch.autocast(input.device.type, torch.bfloat16):
            output: Tensor = self.network(input, **conditions)
        return output.float()


def _with_named_conditions(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """Return a network that has an argument for each condition, where it takes them as ``**conditions``.

    Where sizes are free, torch 2.8 to 2.11 count tensors of such an argument twice, and refuse the shapes.
    """
    stated = inspect.signature(network.forward).parameters.values()
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in stated):
        return network

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
            output: Tensor = self.network(input, **conditions)
            return output

    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    arguments = [inspect.Parameter(name, either) for name in ("self", "input", *names)]
    Named.forward.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    return Named()


def interface(tensors: dict[str, Tensor], fixed: bool) -> dict[str, list[int | str]]:
    """Return the shape of each input, with names for free axes.

    Args:
        tensors: inputs by name.
        fixed: whether the batch axis alone is free.
    """
    free = free_axes(tensors, fixed)
    return {
        name: [free[name].get(axis, length) for axis, length in enumerate(tensor.shape)]
        for name, tensor in tensors.items()
    }


def _arguments(request: ExportRequest, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    return batch.input, {name: batch.conditions[name] for name in used_conditions(request.network, request.batch)}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
