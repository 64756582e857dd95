"""Conversion of colour images to luminance."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2gray


def luminance(values: np.ndarray, alpha: bool) -> np.ndarray:
    """Drop the alpha channel and convert colours to luminance (ITU-R BT.709) in the same range of values.

    Args:
        values: [H, W], or [H, W, channels] with 1 or 3 channels and alpha.
        alpha: whether the last channel is alpha.

    Returns:
        [H, W], or the values unchanged where they are no grey or RGB image.
    """
    if values.ndim == 3 and alpha:
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[2] == 1:
        return values[..., 0]
    if values.ndim == 3 and values.shape[2] == 3 and values.dtype.kind in "biuf":
        return rgb2gray(values.astype(np.float32))
    return values
