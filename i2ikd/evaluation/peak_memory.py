"""The most memory that tensors hold at one time while a function runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveStorages(TorchDispatchMode):
    """Counts the bytes of tensor storages that are alive, after every operation.

    Unlike the process's resident memory this is the same on every run and machine. What a kernel allocates and frees
    within one operation is not seen.
    """

    def __init__(self, present: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self._count(present)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then count."""
        result = func(*args, **(kwargs or {}))
        self._count(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def _count(self, tensors: Iterable[Tensor]) -> None:
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        for tensor in tensors:
            if tensor.layout is not torch.strided:
                continue  # a sparse tensor is made of strided ones, which its maker allocated
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            self._alive.setdefault(reference.cdata, (reference, storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))


def peak_bytes(run: Callable[[], Any], present: Iterable[Tensor], device: torch.device) -> int:
    """Return the peak of what ``present`` and everything that ``run`` makes hold together.

    On CUDA it is the allocator's own peak, so that a kernel's workspace counts; what lay on the device before and is
    not in ``present`` does not count. Elsewhere see ``LiveStorages``.

    Args:
        run: makes the tensors; nothing that it returns is kept.
        present: tensors that exist already (weights, the batch).
        device: where ``run`` works.
    """
    kept = list(present)
    if device.type != "cuda":
        with LiveStorages(kept) as storages:
            run()
        return storages.peak
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before + LiveStorages(kept).peak
