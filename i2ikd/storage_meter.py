"""Meter of tensor memory: bytes of live tensor storages, independent of device, allocator and other processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Allocation:
    """Storage allocated by an operator.

    Attributes:
        operator: name of the operator; empty for tensors that existed before.
        shape: of the first tensor on the storage.
        bytes: size of the storage.
    """

    operator: str
    shape: tuple[int, ...]
    bytes: int


class StorageMeter(TorchDispatchMode):
    """Dispatch mode that measures the bytes of live tensor storages after every operation, backward passes included.

    Unlike the process's resident memory, the result is the same for every run and machine. Workspace that a kernel
    allocates and frees within one operation is not included, nor are parts of sparse tensors that an operation creates
    itself. A storage counts once, regardless of the number of
    tensors that view it.

    Args:
        present: tensors that exist already and are included.
        excluded: tensors that exist already and are not included; neither are views of them.

    Attributes:
        peak: the largest sum so far, in bytes.
        at_peak: the allocations that were live at the peak.
        peak_operator: name of the operator after which the peak was measured.

    >>> argument = torch.zeros(1000)
    >>> with StorageMeter(excluded=[argument]) as meter:
    ...     _ = (argument + 1).sum()
    >>> 4000 <= meter.peak <= 4100
    True
    """

    def __init__(self, present: Iterable[Tensor] = (), excluded: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._live: dict[int, tuple[StorageWeakRef, Allocation]] = {}
        self.peak = 0
        self.at_peak: tuple[Allocation, ...] = ()
        self.peak_operator = ""
        for tensor in excluded:
            self._add(tensor, Allocation("", tuple(tensor.shape), 0))
        self._count(present, "")

    @property
    def current(self) -> int:
        """Bytes of the live storages now."""
        return sum(allocation.bytes for allocation in self._allocations())

    def reset_peak(self) -> None:
        """Restart the measurement of the peak from the storages that are live now."""
        self.peak, self.at_peak, self.peak_operator = self.current, tuple(self._allocations()), ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, then count its outputs."""
        result = func(*args, **(kwargs or {}))
        self._count((leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)), str(func))
        return result

    def _allocations(self) -> Iterator[Allocation]:
        """Yield the allocations whose storages have not been freed."""
        return (allocation for reference, allocation in self._live.values() if not reference.expired())

    def _count(self, tensors: Iterable[Tensor], operator: str) -> None:
        """Drop freed storages, add new ones, and update the peak."""
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        for tensor in tensors:
            if tensor.layout is torch.strided:  # a sparse tensor has no storage of its own, only those of its parts
                self._add(tensor, Allocation(operator, tuple(tensor.shape), tensor.untyped_storage().nbytes()))
        total = sum(allocation.bytes for _, allocation in self._live.values())
        if total > self.peak:
            self.peak, self.peak_operator = total, operator
            self.at_peak = tuple(allocation for _, allocation in self._live.values())

    def _add(self, tensor: Tensor, allocation: Allocation) -> None:
        """Add the storage of a tensor, unless it is already known."""
        reference = StorageWeakRef(tensor.untyped_storage())
        self._live.setdefault(reference.cdata, (reference, allocation))
