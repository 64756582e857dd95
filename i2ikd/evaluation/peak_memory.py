"""Peak memory of tensors during a function call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """Dispatch mode that sums the bytes of live tensor storages after every operation.

    Unlike the process's resident memory, the result is the same for every run and machine. Workspace that a kernel
    allocates and frees within one operation is not included.

    Args:
        present: tensors that exist already and are included.

    Attributes:
        peak: the largest sum so far, in bytes.
    """

    def __init__(self, present: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._count(present)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation, then count its outputs."""
        result = func(*args, **(kwargs or {}))
        self._count(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def _count(self, tensors: Iterable[Tensor]) -> None:
        """Add new storages, drop freed ones, and update the peak."""
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        for tensor in tensors:
            if tensor.layout is not torch.strided:
                continue  # a sparse tensor consists of strided ones, which are counted themselves
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            self._alive.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))


def peak_bytes(run: Callable[[], Any], present: Iterable[Tensor], device: torch.device) -> int:
    """Measure the peak memory of the tensors in ``present`` and those created by ``run``.

    On CUDA this is the allocator's peak, which includes kernel workspace; memory allocated before the call and not in
    ``present`` is excluded. On other devices see ``LiveStorages``.

    Args:
        run: function to measure; its return value is discarded.
        present: existing tensors to include (weights, the batch).
        device: device of ``run``.

    Returns:
        Bytes.
    """
    tensors = list(present)
    if device.type != "cuda":
        with LiveStorages(tensors) as storages:
            run()
        return storages.peak
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before + LiveStorages(tensors).peak
