"""Padding an image to a size that a network with strides can take."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(image: Tensor, stride: int, least: int | None = None) -> Tensor:
    """Extend [B, C, H, W] at the right and lower edge to multiples of ``stride``.

    Args:
        image: of any size.
        stride: what rows and columns become multiples of.
        least: how many they become at least, a multiple of ``stride``; two strides when not given.

    The new pixels are reflections, or the last one repeated where the image is too small for that.

    >>> import torch
    >>> pad_to_multiple(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 2)
    tensor([[[[1., 2., 3., 2.],
              [1., 2., 3., 2.],
              [1., 2., 3., 2.],
              [1., 2., 3., 2.]]]])
    """
    least = 2 * stride if least is None else least
    for axis in (2, 3):
        size = image.shape[axis]
        missing = max(-size % stride, least - size)
        if missing == 0:
            continue
        mode = "reflect" if missing < size else "replicate"
        image = F.pad(image, (0, 0, 0, missing) if axis == 2 else (0, missing, 0, 0), mode=mode)
    return image
