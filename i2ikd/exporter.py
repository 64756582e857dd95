"""Interface of exporters: formats in which a trained network is delivered, and the runtimes that execute them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.export_form import ExportForm
from i2ikd.sample import Batch

Precision = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class ExportRequest:
    """What an exporter writes.

    Attributes:
        network: trained network in eval mode, called as ``network(input, **conditions)``.
        make_form: returns the same network with real inputs, and raises a ``UserError`` where it has no such form.
        batch: two samples of random values with the shapes of the task's, for tracing; height and width differ unless
            the size is fixed.
        precision: one of the exporter's ``precisions``.
        fixed: whether the file is for the height and width of ``batch`` alone; the batch axis is free in any case.
        calibration: training slices that ranges of activations are determined from; empty unless the precision is
            ``int8``.
        full_precision: paths of convolutions in ``network`` that stay float32 in the precision ``int8``.
        conversions: results that requests for the same network share, such as its conversion to another format.
    """

    network: nn.Module
    make_form: Callable[[], ExportForm]
    batch: Batch
    precision: Precision = "fp32"
    fixed: bool = False
    calibration: Sequence[Batch] = ()
    full_precision: frozenset[str] = frozenset()
    conversions: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def form(self) -> ExportForm:
        """The same network with real inputs, made on first use, because some formats need none.

        Raises:
            UserError: the network has no such form.
        """
        return self.make_form()

    @property
    def full_precision_weights(self) -> frozenset[str]:
        """Names, in the form's network, of the weights of the convolutions that stay float32.

        Raises:
            UserError: the form has no such weight.
        """
        kept = {path: id(self.network.get_submodule(path).weight) for path in self.full_precision}
        names = {id(parameter): name for name, parameter in self.form.network.named_parameters()}
        for path, weight in kept.items():
            if weight not in names:
                raise UserError(
                    f"full_precision: expected convolutions of {type(self.network).__name__} whose weights its export "
                    f"form has, got {path!r}; leave full_precision empty"
                )
        return frozenset(names[weight] for weight in kept.values())


@dataclass(frozen=True)
class Delivered:
    """A file, loaded in its runtime.

    Attributes:
        runtime: name and version.
        inputs: returns the inputs of the file for a batch.
        run: computes the image [B, C, H, W] from such inputs; this call is timed.
        reference: computes with torch what the file should compute for a batch.
        interface: shape of each input by name, with names for free axes, such as ``["batch", 1, "height", "width"]``.
    """

    runtime: str
    inputs: Callable[[Batch], Any]
    run: Callable[[Any], Tensor]
    reference: Callable[[Batch], Tensor]
    interface: Mapping[str, Sequence[int | str]]

    def __call__(self, batch: Batch) -> Tensor:
        """Return the image [B, C, H, W] of the file for a batch."""
        return self.run(self.inputs(batch))


class Exporter(ABC):
    """A deployment format; options are typed constructor arguments.

    ``i2ikd export`` writes to a temporary folder, loads the file, compares it with the network on held-out slices, at
    another size and another batch size, times it, and moves it to its place if it agrees.
    """

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    """Precisions that the format supports."""

    @abstractmethod
    def write(self, request: ExportRequest, path: Path) -> None:
        """Write a file, and further files of the same name with other endings if the format has several.

        Args:
            request: network, example and precision.
            path: file in an empty folder.

        Raises:
            UserError: a package is missing, or the format cannot hold the network.
        """

    @abstractmethod
    def load(self, request: ExportRequest, path: Path) -> Delivered:
        """Load a written file in its runtime, with the number of threads that torch has.

        Args:
            request: as passed to ``write``; formats that hold weights alone load them into a copy of its network.
            path: the file.

        Raises:
            UserError: a package is missing, or the runtime cannot load the file.
        """

    def refuse_unsupported(self, precision: Precision, name: str) -> None:
        """Raise ``UserError`` for a precision that the format does not support.

        Args:
            precision: the requested precision.
            name: of the exporter, for the message.
        """
        if precision not in self.precisions:
            raise UserError(f"--precision: {name} supports {', '.join(self.precisions)}, got {precision}")
