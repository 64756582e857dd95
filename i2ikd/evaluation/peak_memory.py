"""Peak memory of tensors during a function call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from i2ikd.storage_meter import StorageMeter


def peak_bytes(run: Callable[[], Any], present: Iterable[Tensor], device: torch.device) -> int:
    """Measure the peak memory of the tensors in ``present`` and those created by ``run``.

    On CUDA this is the allocator's peak, which includes kernel workspace; memory allocated before the call and not in
    ``present`` is excluded. On other devices see ``StorageMeter``.

    Args:
        run: function to measure; its return value is discarded.
        present: existing tensors to include (weights, the batch).
        device: device of ``run``.

    Returns:
        Bytes.
    """
    tensors = list(present)
    if device.type != "cuda":
        with StorageMeter(tensors) as meter:
            run()
        return meter.peak
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before + StorageMeter(tensors).peak
