"""Serialisation of knowledge: one row of bytes per sample, which restores values, shapes and memory layout exactly."""

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
    """Memory layout of one tensor of a term's knowledge, without the batch axis.

    Strides are included because a sum over equal values in another order rounds differently: cached tensors must
    be summed in the same order as the teacher's output.

    Attributes:
        name: key in the knowledge.
        dtype: type of the elements.
        shape: without the batch axis.
        strides: in elements, without the batch axis.

    Raises:
        ValueError: strides that do not fit the shape or leave gaps.
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
        """Return the layout of a batch [B, ...]; a tensor with gaps in memory is treated as contiguous.

        Args:
            name: key in the knowledge.
            tensor: [B, ...].
        """
        shape, strides = tuple(tensor.shape[1:]), tuple(tensor.stride()[1:])
        if not _dense(shape, strides):
            strides = torch.empty(shape, device="meta").stride()
        return cls(name, tensor.dtype, shape, strides)

    @property
    def elements(self) -> int:
        """Number of elements of one sample."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of one sample."""
        return self.elements * self.dtype.itemsize

    def pack(self, tensor: Tensor) -> Tensor:
        """Return a batch [B, ...] as rows [B, bytes], uint8 on the CPU.

        Args:
            tensor: [B, ...], of the shape and type of this layout, on any device.
        """
        count = len(tensor)
        dense = torch.empty_strided((count, *self.shape), (self.elements, *self.strides), dtype=self.dtype)
        dense.copy_(tensor)
        return dense.as_strided((count, self.elements), (self.elements, 1)).view(torch.uint8)

    def unpack(self, rows: Tensor) -> Tensor:
        """Return rows [B, bytes] as the batch [B, ...] that was packed.

        Args:
            rows: [B, bytes], uint8.
        """
        values = rows.contiguous().view(self.dtype)
        return values.as_strided((len(rows), *self.shape), (self.elements, *self.strides))


def _dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return whether the elements are adjacent in memory, in any order of the axes."""
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
    """Layout of a row: the tensors of a term's knowledge, concatenated.

    Attributes:
        tensors: their layouts, in order.
    """

    tensors: tuple[TensorLayout, ...]

    @classmethod
    def of(cls, knowledge: Knowledge) -> RecordLayout:
        """Return the layout of a batch's knowledge.

        Args:
            knowledge: [B, ...] each.
        """
        return cls(tuple(TensorLayout.of(name, tensor) for name, tensor in knowledge.items()))

    @property
    def bytes(self) -> int:
        """Bytes of one sample."""
        return sum(layout.bytes for layout in self.tensors)

    def fits(self, knowledge: Knowledge) -> bool:
        """Return whether the knowledge of other samples has the same names, types and shapes.

        Args:
            knowledge: [B, ...] each.
        """
        actual = [(name, tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in knowledge.items()]
        return actual == [(layout.name, layout.dtype, layout.shape) for layout in self.tensors]

    def pack(self, knowledge: Knowledge, count: int) -> Tensor:
        """Return the knowledge of the first ``count`` samples of a batch as rows [count, bytes], uint8.

        Args:
            knowledge: [B, ...] each, of this layout.
            count: number of samples, at most B.
        """
        parts = [layout.pack(knowledge[layout.name][:count]) for layout in self.tensors]
        return torch.cat([torch.empty(count, 0, dtype=torch.uint8), *parts], dim=1)

    def unpack(self, rows: Tensor, index: Tensor, device: torch.device) -> Knowledge:
        """Return the knowledge of selected samples.

        Args:
            rows: [N, bytes], uint8.
            index: [B], positions in ``rows``.
            device: of the returned tensors.
        """
        knowledge, start = {}, 0
        for layout in self.tensors:
            chosen = rows.narrow(1, start, layout.bytes).index_select(0, index)
            knowledge[layout.name] = layout.unpack(chosen).to(device, non_blocking=True)
            start += layout.bytes
        return knowledge


@dataclass(frozen=True)
class CachedRecords:
    """Teacher outputs of one request for all samples."""

    layout: RecordLayout
    rows: Tensor
    """[N, bytes] uint8, in memory or mapped from a file."""
    hold: Any = None
    """Object that keeps the entry locked as long as the rows are in use."""

    def take(self, index: Tensor, device: torch.device) -> Knowledge:
        """Return the knowledge of the samples at positions ``index`` [B], on ``device``.

        Args:
            index: [B], positions in ``rows``.
            device: of the returned tensors.
        """
        return self.layout.unpack(self.rows, index, device)
