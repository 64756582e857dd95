"""Knowledge as rows of bytes, one row a sample, that give the very tensors back: values, shapes, memory layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from i2ikd.distiller import Knowledge


@dataclass(frozen=True)
class TensorLayout:
    """How one tensor of a term's knowledge lies in memory, without its batch axis.

    The strides belong to it because sums over equal values in another order end in other bits: what is kept must not
    only have the values that the teacher gave, but be summed as what the teacher gave would have been.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if not _dense(self.shape, self.strides):
            raise ValueError(f"{self.name}: the strides {self.strides} do not fit the shape {self.shape}")

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> TensorLayout:
        """Return the layout of a batch [B, ...]; one that has gaps is taken as contiguous."""
        shape, strides = tuple(tensor.shape[1:]), tuple(tensor.stride()[1:])
        if not _dense(shape, strides):
            strides = torch.empty(shape, device="meta").stride()
        return cls(name, tensor.dtype, shape, strides)

    @property
    def elements(self) -> int:
        """Of one sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Of one sample."""
        return self.elements * self.dtype.itemsize

    def pack(self, tensor: Tensor) -> Tensor:
        """Return the batch [B, ...] as bytes [B, bytes], uint8 on the CPU."""
        count = len(tensor)
        laid = torch.empty_strided((count, *self.shape), (self.elements, *self.strides), dtype=self.dtype)
        laid.copy_(tensor)
        return laid.as_strided((count, self.elements), (self.elements, 1)).view(torch.uint8)

    def unpack(self, rows: Tensor) -> Tensor:
        """Return bytes [B, bytes] as the batch that they were."""
        values = rows.contiguous().view(self.dtype)
        return values.as_strided((len(rows), *self.shape), (self.elements, *self.strides))


def _dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements lie one behind the other, in whatever order of the axes."""
    if len(shape) != len(strides):
        return False
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape) if size != 1):
        if stride != expected:
            return False
        expected *= size
    return True


@dataclass(frozen=True)
class RecordLayout:
    """The tensors of a term's knowledge, one behind the other in a row."""

    layouts: tuple[TensorLayout, ...]

    @classmethod
    def of(cls, knowledge: Knowledge) -> RecordLayout:
        """Return the form that a batch's knowledge has."""
        return cls(tuple(TensorLayout.of(name, tensor) for name, tensor in knowledge.items()))

    @property
    def bytes(self) -> int:
        """Of one sample."""
        return sum(layout.bytes for layout in self.layouts)

    def fits(self, knowledge: Knowledge) -> bool:
        """Whether the knowledge about other samples has the same names, types and shapes."""
        found = [(name, tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in knowledge.items()]
        return found == [(layout.name, layout.dtype, layout.shape) for layout in self.layouts]

    def pack(self, knowledge: Knowledge, count: int) -> Tensor:
        """Return the knowledge about the first ``count`` samples of a batch as rows [count, bytes], uint8."""
        parts = [layout.pack(knowledge[layout.name][:count]) for layout in self.layouts]
        return torch.cat([torch.empty(count, 0, dtype=torch.uint8), *parts], dim=1)

    def unpack(self, rows: Tensor, index: Tensor, device: torch.device) -> Knowledge:
        """Return the knowledge about the samples of some rows."""
        knowledge, start = {}, 0
        for layout in self.layouts:
            chosen = rows.narrow(1, start, layout.bytes).index_select(0, index)
            knowledge[layout.name] = layout.unpack(chosen).to(device, non_blocking=True)
            start += layout.bytes
        return knowledge


@dataclass(frozen=True)
class CachedRecords:
    """What a teacher said to one term about all samples."""

    form: RecordLayout
    rows: Tensor
    """[N, bytes] uint8, in memory or mapped from a file."""
    hold: Any = None
    """What must stay open as long as the rows are in use."""

    def take(self, index: Tensor, device: torch.device) -> Knowledge:
        """Return what was said about the samples of some rows."""
        return self.form.unpack(self.rows, index, device)
