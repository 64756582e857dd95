"""Data consistency in real arithmetic, as matrix products, for runtimes without complex numbers or Fourier transforms.

Tables of cosines and sines are computed from the shape of the mask, so that a captured graph holds for any size.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from i2ikd import UserError

KeepMissing = Callable[[Tensor], Tensor]
"""Removes the measured k-space samples from an image [B, C, H, W], with one channel or real and imaginary part."""


def keep_missing_operator(mask: Tensor, images: int, axes: tuple[int, ...], centered: bool = False) -> KeepMissing:
    """Return F^-1((1 - mask) * F(x)) as matrix products; equals ``keep_missing`` of ``i2ikd_mri.data_consistency``.

    For a mask of lines, the operator along the phase-encode axis is a circulant matrix, the inverse Fourier transform
    of the weights: entry (x, x') is sum_k (1 - mask_k) exp(2 pi i k (x - x') / n) / n, of which a real image needs the
    real part. For a mask of the plane, both axes are transformed by products with tables of cosines and sines. All
    arithmetic is in the type of the mask, float32.

    Args:
        mask: [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
        images: channels of the images: 1 (real) or 2 (real and imaginary part).
        axes: transformed axes: (-2,), (-1,) or (-2, -1), as given by the shape of the mask.
        centered: position of zero frequency in the mask: index 0 (``False``) or n // 2 (``True``).

    Returns:
        The function from image to image.

    Raises:
        UserError: ``images`` is neither 1 nor 2.
    """
    if images not in (1, 2):
        raise UserError(f"data consistency: expected images with 1 or 2 channels, got {images}")
    missing = 1 - mask[:, 0]
    if len(axes) == 2:
        return _Plane(missing, images, centered)
    return _Lines(missing.flatten(1), images, axes[0], centered)


class _Lines:
    """Product with one matrix [B, C n, C n] along the phase-encode axis; C channels."""

    def __init__(self, missing: Tensor, images: int, axis: int, centered: bool) -> None:
        length = missing.shape[1]
        cosines, sines, period = _tables(length, missing, centered)
        weights = missing / period
        positions = torch.arange(length, device=missing.device)
        distances = torch.remainder(positions[:, None] - positions[None, :], period).flatten()
        real = _circulant(weights @ cosines, distances, length)
        if images == 1:
            self._matrix = real
        else:
            imaginary = _circulant(weights @ sines, distances, length)
            self._matrix = torch.cat([torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)], 1)
        self._axis = axis

    def __call__(self, image: Tensor) -> Tensor:
        lines = image if self._axis == -2 else image.transpose(2, 3)
        product = torch.bmm(self._matrix, lines.flatten(1, 2)).reshape(lines.shape)
        return product if self._axis == -2 else product.transpose(2, 3)


class _Plane:
    """Transforms along both axes, product with the weights, and inverse transforms along both axes."""

    def __init__(self, missing: Tensor, images: int, centered: bool) -> None:
        *self._rows, height = _tables(missing.shape[1], missing, centered)
        *self._columns, width = _tables(missing.shape[2], missing, centered)
        self._weights = missing / (height * width)
        self._images = images

    def __call__(self, image: Tensor) -> Tensor:
        real = image[:, 0]
        imaginary = image[:, 1] if self._images == 2 else None
        real, imaginary = self._transform(real, imaginary)
        real, imaginary = self._inverse(self._weights * real, self._weights * imaginary)
        return real[:, None] if self._images == 1 else torch.stack([real, imaginary], 1)

    def _transform(self, real: Tensor, imaginary: Tensor | None) -> tuple[Tensor, Tensor]:
        """Multiply by cos - i sin along rows, then along columns."""
        (cosines, sines), (across, aside) = self._rows, self._columns
        row_real, row_imaginary = cosines @ real, -(sines @ real)
        if imaginary is not None:
            row_real, row_imaginary = row_real + sines @ imaginary, row_imaginary + cosines @ imaginary
        plane_real = row_real @ across.mT + row_imaginary @ aside.mT
        plane_imaginary = row_imaginary @ across.mT - row_real @ aside.mT
        return plane_real, plane_imaginary

    def _inverse(self, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply by cos + i sin along rows, then along columns."""
        (cosines, sines), (across, aside) = self._rows, self._columns
        row_real = cosines.mT @ real - sines.mT @ imaginary
        row_imaginary = cosines.mT @ imaginary + sines.mT @ real
        return row_real @ across - row_imaginary @ aside, row_imaginary @ across + row_real @ aside


def _circulant(first: Tensor, distances: Tensor, length: int) -> Tensor:
    """Return the matrices [B, n, n] with entry ``first[b, (x - x') mod n]``."""
    return first.index_select(1, distances).reshape(-1, length, length)


def _tables(length: int, like: Tensor, centered: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos(2 pi k x / n) and sin(2 pi k x / n), [k, x], with zero frequency at index 0 or n // 2, and n.

    The product k x is reduced modulo n as an integer: float32 would lose the phase of large products. The length n is
    a tensor [1], so that a captured graph computes with it, for any n.
    """
    positions = torch.arange(length, device=like.device)
    period = positions[-1:] + 1
    frequencies = positions - torch.div(period, 2, rounding_mode="floor") if centered else positions
    angles = positions.to(like.dtype) * (2 * torch.pi) / period
    index = torch.remainder(frequencies[:, None] * positions[None, :], period).flatten()
    cosines, sines = (wave.index_select(0, index).reshape(length, length) for wave in (angles.cos(), angles.sin()))
    return cosines, sines, period
