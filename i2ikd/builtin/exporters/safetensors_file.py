"""Exporter ``safetensors``: the weights by name, for reading without execution of code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from i2ikd.builtin.exporters.packages import require
from i2ikd.exporter import Delivered, Exporter, ExportRequest, Precision
from i2ikd.files import write_atomically
from i2ikd.network import apply, to_memory_format
from i2ikd.sample import Batch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Safetensors(Exporter):
    """The state dict of the network; in ``fp16`` and ``bf16``, floating-point weights are stored in 16 bits."""

    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "fp16", "bf16")

    def write(self, request: ExportRequest, path: Path) -> None:
        """Write the weights; see ``Exporter.write``."""
        library = require("safetensors.torch", "safetensors", "safetensors")
        dtype = DTYPES[request.precision]
        state = {
            name: (tensor.to(dtype) if tensor.dtype == torch.float32 else tensor).detach().cpu().contiguous().clone()
            for name, tensor in request.network.state_dict().items()
        }
        write_atomically(path, library.save(state))

    def load(self, request: ExportRequest, path: Path) -> Delivered:
        """Load the weights into a copy of the network; see ``Exporter.load``."""
        library = require("safetensors.torch", "safetensors", "safetensors")
        network = to_memory_format(copy.deepcopy(request.network), "cpu")
        network.load_state_dict(library.load_file(path))

        @torch.inference_mode()
        def run(batch: Batch) -> Tensor:
            return apply(network, batch).float()

        @torch.inference_mode()
        def reference(batch: Batch) -> Tensor:
            return apply(request.network, batch).float()

        return Delivered(
            runtime=f"torch {torch.__version__}",
            inputs=lambda batch: batch.to("cpu", memory_format=torch.channels_last),
            run=run,
            reference=reference,
            interface={},
        )
