"""A delivered file as a network: what it computes in its runtime, called like the network that it was written from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from i2ikd.exporter import Delivered, Precision
from i2ikd.sample import Batch


@dataclass(frozen=True)
class DeliveredFile:
    """A written file.

    Attributes:
        path: the file; it may have further files of the same name with other endings beside it.
        exporter: name of the format.
        precision: precision of the file.
        size_bytes: of all files of the format.
        full_precision: paths of convolutions that stay float32 in int8.
        loss: loss of the task's first metric on validation slices, in its unit; ``None`` if it was not measured.
    """

    path: Path
    exporter: str
    precision: Precision
    size_bytes: int
    full_precision: Sequence[str] = ()
    loss: float | None = None


class DeliveredNetwork(nn.Module):
    """A network that computes by a file in its runtime, on the CPU, in inference only.

    Args:
        network: the network that the file was written from; its parameters are counted, and are not used.
        file: the file.
        load: loads the file with the number of threads that torch has.
    """

    def __init__(self, network: nn.Module, file: DeliveredFile, load: Callable[[], Delivered]) -> None:
        super().__init__()
        self.network = network
        self.file = file
        self._load = load
        self._loaded: dict[int, Delivered] = {}

    @property
    def delivered(self) -> Delivered:
        """The file, loaded with the number of threads that torch has; once for each number.

        Raises:
            UserError: the runtime is missing, or cannot load the file.
        """
        threads = torch.get_num_threads()
        if threads not in self._loaded:
            self._loaded[threads] = self._load()
        return self._loaded[threads]

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Return the image [B, C, H, W] of the file.

        Args:
            input: of the network.
            conditions: of the network.
        """
        batch = Batch(
            input=input.cpu(),
            target=torch.empty(0),
            conditions={name: value.cpu() for name, value in conditions.items()},
            labelled=torch.zeros(len(input), dtype=torch.bool),
        )
        return self.delivered(batch).to(input.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Stay on the CPU in float32: the runtime does."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
