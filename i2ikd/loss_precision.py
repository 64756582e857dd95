"""Number format of losses: at least float32, with autocast off."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32 and leave float32 and float64 as they are.

    A loss that converts its inputs this way, and not by ``.float()``, can be compared with itself in float64.

    Args:
        tensor: floating-point tensor of any shape.

    Returns:
        The tensor itself, or a float32 copy of a half-precision one.

    >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype, at_least_float32(torch.ones(1).double()).dtype
    (torch.float32, torch.float64)
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast is off on the tensor's device."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
