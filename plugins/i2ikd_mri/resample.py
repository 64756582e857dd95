"""Resampling of a slice to another size through k-space: keep the centre, or zero-fill around it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.fourier import fourier, inverse_fourier


def resample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample a slice to ``size`` pixels over the same field of view.

    Each axis is treated on its own: where it shrinks, the ``n`` frequencies around zero are kept, where it grows,
    zeros are put around those that exist. Zero frequency stays zero frequency for every combination of odd and even
    lengths. The mean intensity of the slice is kept.

    Args:
        image: [..., H, W], real or complex.
        size: the wanted (H, W), each at least 1.

    Returns:
        [..., *size] of the same dtype. A complex image stays complex. A real one stays real by taking the real part,
        not the magnitude: the real part is linear in the image and keeps the mean exactly; it may ring slightly below
        zero beside sharp edges. (The imaginary part that is dropped comes from the one highest frequency of an even
        length, whose mirror frequency has no place.)

    Raises:
        UserError: a size below 1.

    >>> resample(torch.full((4, 6), 3.0), (2, 9))[0, :2]
    tensor([3., 3.])
    """
    if min(size) < 1:
        raise UserError(f"size = {list(size)}: both numbers must be at least 1")
    result = image
    for axis, wanted in ((-2, size[0]), (-1, size[1])):
        result = _resample_axis(result, axis, wanted)
    return result if image.is_complex() else result.real


def _resample_axis(image: Tensor, axis: int, wanted: int) -> Tensor:
    length = image.shape[axis]
    if wanted == length:
        return image
    spectrum = fourier(image, centered=True, axes=(axis,))
    start = length // 2 - wanted // 2
    if wanted < length:
        spectrum = spectrum.narrow(axis, start, wanted)
    else:
        before, after = -start, wanted - length + start
        spectrum = torch.nn.functional.pad(spectrum, (before, after) if axis == -1 else (0, 0, before, after))
    return inverse_fourier(spectrum, centered=True, axes=(axis,)) * math.sqrt(wanted / length)


def resample_slice(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample a NumPy slice [..., H, W]; see ``resample``."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return resample(torch.from_numpy(np.ascontiguousarray(image)), size).numpy()
