"""Resampling of a slice to another size through k-space: crop it to the centre, or pad it with zeros."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.fourier import fourier, inverse_fourier


def resample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a slice to ``size`` pixels over the same field of view.

    Axes are resampled independently: a shorter axis keeps the frequencies around zero, a longer one is padded with
    zeros. Image origin and zero frequency are at index n // 2 of every length n, odd or even, so that zero frequency
    maps to zero frequency. The mean intensity of the slice is preserved.

    Args:
        image: [..., H, W], real or complex.
        size: (H, W) of the result in pixels, each at least 1.

    Returns:
        [..., *size] of the same dtype. Of a real image the real part of the result is returned, not the magnitude: the
        real part is linear in the image and preserves the mean exactly. It can ring slightly below zero beside sharp
        edges. (The discarded imaginary part stems from the highest frequency of an even length, whose mirror frequency
        is not on the grid.)

    Raises:
        UserError: a size is below 1.

    >>> resample(torch.full((4, 6), 3.0), (2, 9))[0, :2]
    tensor([3., 3.])
    """
    if min(size) < 1:
        raise UserError(f"resample: expected a size of at least 1 pixel along both axes, got size = {list(size)}")
    result = image
    for axis, length in ((-2, size[0]), (-1, size[1])):
        result = _resample_axis(result, axis, length)
    return result if image.is_complex() else result.real


def _resample_axis(image: Tensor, axis: int, target: int) -> Tensor:
    """Resample one axis to ``target`` pixels; the factor sqrt(target / length) preserves the mean."""
    length = image.shape[axis]
    if target == length:
        return image
    spectrum = fourier(image, centered=True, axes=(axis,))
    start = length // 2 - target // 2
    if target < length:
        spectrum = spectrum.narrow(axis, start, target)
    else:
        before, after = -start, target - length + start
        spectrum = torch.nn.functional.pad(spectrum, (before, after) if axis == -1 else (0, 0, before, after))
    return inverse_fourier(spectrum, centered=True, axes=(axis,)) * math.sqrt(target / length)


def resample_slice(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample a NumPy slice through k-space; see ``resample``.

    Args:
        image: [..., H, W], real or complex.
        size: (H, W) of the result in pixels.

    Returns:
        [..., *size]; ``image`` itself where it has this size.

    Raises:
        UserError: a size is below 1.
    """
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return resample(torch.from_numpy(np.ascontiguousarray(image)), size).numpy()
