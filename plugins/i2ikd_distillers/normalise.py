"""Normalisations with a floor.

Nothing is divided by a norm below 1e-6, nor below a thousandth of the root mean square of its kind in the same image:
a dead channel or a pixel of air would otherwise get gradients of up to 1e12. The second floor follows the scale of the
features; the first one is for features that are zero everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-6
"""The least norm that anything is divided by."""

SQUARED_FLOOR = FLOOR**2
"""The same floor where the quantity is a square of features (an energy, a Gram entry)."""

RELATIVE_FLOOR = 1e-3
"""The least norm as a share of the root mean square of the norms beside it."""


def root_diagonal(matrix: Tensor) -> Tensor:
    """Return the norms [..., R] of the rows whose Gram matrix [..., R, R] is given, not below the floors."""
    energy = matrix.diagonal(dim1=-2, dim2=-1)
    return torch.maximum(energy, least(energy, axes=(-1,), floor=SQUARED_FLOOR, share=RELATIVE_FLOOR**2)).sqrt()


def least(values: Tensor, axes: tuple[int, ...], floor: float, share: float) -> Tensor:
    """Return the least value to divide by, without gradient: ``floor``, or ``share`` of the mean over the axes."""
    return (share * values.detach().mean(dim=axes, keepdim=True)).clamp_min(floor)


def cosines(matrix: Tensor) -> Tensor:
    """Turn a Gram matrix [..., R, R] into the matrix of cosines."""
    norm = root_diagonal(matrix)
    return matrix / (norm.unsqueeze(-1) * norm.unsqueeze(-2))


def unit_rows(matrix: Tensor) -> Tensor:
    """Divide each row of a Gram matrix [..., R, R'] by its length, not below the floors."""
    length = torch.linalg.vector_norm(matrix, dim=-1, keepdim=True)
    return matrix / torch.maximum(length, least(length, axes=(-2,), floor=SQUARED_FLOOR, share=RELATIVE_FLOOR))


def unit_pixels(feature: Tensor) -> Tensor:
    """Divide the channels of each pixel of [B, C, H, W] by their length, not below the floors."""
    length = torch.linalg.vector_norm(feature, dim=1, keepdim=True)
    return feature * torch.maximum(length, least(length, (1, 2, 3), FLOOR, RELATIVE_FLOOR)).reciprocal()
