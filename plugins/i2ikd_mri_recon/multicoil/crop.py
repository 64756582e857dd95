"""The central part of images, as large as the image to reconstruct."""

from __future__ import annotations

from torch import Tensor


def cropped(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the central part of an image, such that index n // 2 of each axis stays the central one.

    Args:
        image: [..., H, W], real or complex.
        size: (height, width) in pixels, at most (H, W).

    Returns:
        [..., height, width], contiguous; ``image`` itself where it has this size.
    """
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    for axis, length in zip((-2, -1), size):
        image = image.narrow(axis, image.shape[axis] // 2 - length // 2, length)
    return image.contiguous()
