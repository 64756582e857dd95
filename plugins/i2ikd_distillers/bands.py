"""Linear bands of an image: Haar details, a Laplacian pyramid, lines of k-space."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def haar(image: Tensor, levels: int) -> list[Tensor]:
    """Return the high bands of an orthonormal Haar transform, one [B, C, 3, h, w] a level, finest first.

    An odd side is extended by repeating its last line.
    """
    bands = []
    for _ in range(levels):
        height, width = image.shape[-2:]
        if height % 2 or width % 2:
            image = F.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
        c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
        bands.append(torch.stack([a - b + c - d, a + b - c - d, a - b - c + d], dim=2) / 2)
        image = (a + b + c + d) / 2
    return bands


def laplacian(image: Tensor, levels: int) -> list[Tensor]:
    """Return image minus its blur (binomial, 5x5), one [B, C, h, w] a level; each next level has half the lines."""
    weights = image.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    bands = []
    for _ in range(levels):
        planes = image.flatten(0, 1).unsqueeze(1)
        padded = F.pad(planes, (2, 2, 2, 2), mode="replicate")
        blurred = F.conv2d(F.conv2d(padded, weights.view(1, 1, 5, 1)), weights.view(1, 1, 1, 5)).view_as(image)
        bands.append(image - blurred)
        image = blurred[..., ::2, ::2]
    return bands


def lines(image: Tensor, axis: Literal[0, 1], lowest: float, highest: float) -> list[Tensor]:
    """Return the k-space lines whose frequency along ``axis`` is within [lowest, highest] of the Nyquist frequency.

    The transform is over the last two axes, orthonormal, zero frequency at the corner. ``axis`` 0 is the height.
    """
    dimension = image.ndim - 2 + axis
    frequency = torch.fft.fftfreq(image.shape[dimension], device=image.device).abs() * 2
    chosen = torch.nonzero((frequency >= lowest) & (frequency <= highest)).flatten()
    kspace = torch.fft.fft2(image, norm="ortho")
    return [kspace.index_select(dimension, chosen)]
