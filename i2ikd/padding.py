"""Padding of images to multiples of a network's stride."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(image: Tensor, stride: int, least: int | None = None) -> Tensor:
    """Pad an image at its right and lower edge to multiples of a stride.

    New pixels are reflections; along an axis that is too short for them, the last pixel is repeated.

    Args:
        image: [B, C, H, W], with any H and W of at least 1.
        stride: divisor of the padded height and width.
        least: least padded height and width, a multiple of ``stride``; ``2 * stride`` when ``None``.

    Returns:
        [B, C, H', W'], with the input in its upper left corner; the input itself if no padding is needed.

    >>> import torch
    >>> pad_to_multiple(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 2)
    tensor([[[[1., 2., 3., 2.],
              [1., 2., 3., 2.],
              [1., 2., 3., 2.],
              [1., 2., 3., 2.]]]])
    """
    least = 2 * stride if least is None else least
    if stride == 1 and least <= 1:
        return image
    if torch.compiler.is_exporting():
        return _pad_any_size(image, stride, least)
    for axis in (2, 3):
        size = image.shape[axis]
        missing = max(-size % stride, least - size)
        if missing == 0:
            continue
        mode = "reflect" if missing < size else "replicate"
        image = F.pad(image, (0, 0, 0, missing) if axis == 2 else (0, missing, 0, 0), mode=mode)
    return image


def _pad_any_size(image: Tensor, stride: int, least: int) -> Tensor:
    """Pad without decisions that depend on the size, so that an exported graph pads images of any size."""
    for axis in (2, 3):
        size = image.shape[axis]
        padded = stride * torch.sym_max((size + stride - 1) // stride, least // stride)
        positions = torch.arange(padded, device=image.device)
        last = torch.arange(size, device=image.device)[-1:]
        repeated = torch.minimum(positions, last)
        reflected = last - (positions - last).abs()
        image = image.index_select(axis, torch.where(2 * last >= positions[-1:], reflected, repeated))
    return image
