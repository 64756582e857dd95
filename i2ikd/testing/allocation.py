"""Counting what a computation allocates at its peak, in bytes of tensor storage, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class AllocationPeak(TorchDispatchMode):
    """While it is open, keeps the peak of bytes that live tensors hold, forward and backward pass alike.

    Work space inside one operator is not seen; a storage counts once however many tensors view it.

    >>> import torch
    >>> given = torch.zeros(1000)
    >>> with AllocationPeak([given]) as memory:
    ...     _ = (given + 1).sum()
    >>> 4000 <= memory.peak <= 4100
    True
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._live: set[int] = set()
        for tensor in given:
            self._see(tensor.untyped_storage(), 0)

    def _see(self, storage: UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._live:
            return
        self._live.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._live.discard(key)
        self.current -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and note the storages it gave out."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._see(storage, storage.nbytes())
        return result
