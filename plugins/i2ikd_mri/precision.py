"""Full precision for arithmetic that autocast would round, such as Fourier transforms and interpolation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context manager that disables autocast on the device of a tensor, if it is enabled.

    Args:
        tensor: any tensor; only its device is used.
    """
    kind = tensor.device.type
    available = kind in ("cpu", "cuda") or torch.amp.is_autocast_available(kind)  # a call that torch 2.8 cannot compile
    enabled = available and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if enabled else nullcontext()
