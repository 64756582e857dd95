"""Losses in float32: autocast is off inside a distiller, whatever surrounds it."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast is off on the tensor's device."""
    return torch.autocast(device_type=tensor.device.type, enabled=False)
