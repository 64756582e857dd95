"""Positions of one image that serve as a "batch": an even grid derived from shape and count alone, never drawn."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Samples = Literal["batch", "pixel", "patch"]


def grid(height: int, width: int, count: int) -> tuple[int, int]:
    """Return the rows and columns of an even grid of at most ``count`` positions in an image.

    The cells are as square as whole numbers allow; in an image narrower than such a cell there is one column.

    Args:
        height: of the image, at least 1.
        width: of the image, at least 1.
        count: the most positions, at least 1.

    >>> grid(256, 256, 512)
    (23, 22)
    >>> grid(4, 4, 512)
    (4, 4)
    >>> grid(2000, 1, 512)
    (512, 1)
    """
    if count >= height * width:
        return height, width
    rows = min(height, count, max(1, round(math.sqrt(count * height / width))))
    return rows, min(width, max(1, count // rows))


def take(feature: Tensor, kind: Literal["pixel", "patch"], shape: tuple[int, int]) -> Tensor:
    """Return [B, C, rows, columns]: the pixels at the centres of an even grid, or the means of its cells.

    The grid is relative, so that networks whose features differ in size are sampled at the same places.
    """
    if kind == "patch":
        return F.adaptive_avg_pool2d(feature, shape)
    height, width = feature.shape[-2:]
    rows = _centres(height, shape[0], feature.device)
    columns = _centres(width, shape[1], feature.device)
    return feature[:, :, rows.unsqueeze(1), columns]


def _centres(size: int, count: int, device: torch.device) -> Tensor:
    """Return floor((i + 1/2) * size / count), in whole numbers."""
    return (2 * torch.arange(count, device=device) + 1) * size // (2 * count)
