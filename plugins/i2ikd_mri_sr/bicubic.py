"""Bicubic enlargement of a low-resolution image on the pixel grid of a cropped k-space."""

from __future__ import annotations

import torch
from i2ikd_mri.precision import full_precision
from torch import Tensor

_SHARPNESS = -0.5
"""Parameter a of Keys' kernel; -0.5 reproduces every quadratic exactly and is the value of MATLAB and Pillow."""


def enlarge(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate with Keys' cubic convolution, separable, with replicated borders.

    Source: Keys, IEEE Trans. ASSP 29 (1981).

    Resampling through k-space maps pixel N // 2 of the large image to pixel n // 2 of the small one: pixel i of the
    large image is at (i - N // 2) * n / N + n // 2 of the small one. The usual alignment of image corners would shift
    the image by half a low-resolution pixel, and a network that adds its output to it would have to undo the shift.

    Args:
        image: [..., h, w], real; half precision is computed in float32, also under autocast.
        size: (H, W) of the result in pixels, at least (h, w).

    Returns:
        [..., H, W], float32 (float64 for float64).

    >>> enlarge(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), (1, 8))[0, :6]
    tensor([0.0000, 0.4375, 1.0000, 1.5000, 2.0000, 2.5625])
    """
    with full_precision(image):
        image = image.to(torch.float64 if image.dtype == torch.float64 else torch.float32)
        rows, columns = (_weights(n, target, image) for n, target in zip(image.shape[-2:], size))
        return rows @ image @ columns.T


def _weights(length: int, target: int, like: Tensor) -> Tensor:
    """Return the matrix [target, length] of one axis: four weights a row, those beyond a border added to its pixel."""
    position = (torch.arange(target, dtype=torch.float64) - target // 2) * length / target + length // 2
    first = position.floor()
    taps = first[:, None] + torch.arange(-1, 3)
    weights = _cubic((position[:, None] - taps).abs())
    chosen = taps.clamp(0, length - 1)[..., None] == torch.arange(length)
    return (weights[..., None] * chosen).sum(1).to(like)


def _cubic(distance: Tensor) -> Tensor:
    """Evaluate Keys' kernel at a distance of at least 0, in pixels."""
    a = _SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
