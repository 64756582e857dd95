"""Operations on measured k-space [..., H, W] with zero frequency and image origin at n // 2, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PLANE = (-2, -1)
"""Axes of a slice."""


def image_of(kspace: np.ndarray, axes: Sequence[int] = PLANE) -> np.ndarray:
    """Transform k-space to the image, orthonormal.

    Args:
        kspace: complex.
        axes: transformed axes.

    Returns:
        Complex, of the shape of ``kspace``, with the origin at n // 2 of the transformed axes.
    """
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho"), axes)


def kspace_of(image: np.ndarray, axes: Sequence[int] = PLANE) -> np.ndarray:
    """Transform an image to k-space, orthonormal: the inverse of ``image_of``.

    Args:
        image: complex, with the origin at n // 2.
        axes: transformed axes.
    """
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image, axes), axes=axes, norm="ortho"), axes)


def central(values: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Return the central part of one axis: index n // 2 becomes index length // 2.

    Args:
        values: any array.
        length: at most the length of the axis.
        axis: the axis.
    """
    start = values.shape[axis] // 2 - length // 2
    return np.take(values, range(start, start + length), axis)


def without_oversampling(kspace: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Reduce the field of view along one axis that is measured as a whole; pixel values are unchanged.

    Args:
        kspace: complex.
        length: pixels of the smaller field of view.
        axis: the axis.
    """
    if length >= kspace.shape[axis]:
        return kspace
    return kspace_of(central(image_of(kspace, (axis,)), length, axis), (axis,))


def root_sum_of_squares(images: np.ndarray) -> np.ndarray:
    """Combine the images of all coils to their magnitude (Roemer et al., Magn. Reson. Med. 16 (1990)).

    Args:
        images: [coils, H, W], complex.

    Returns:
        [H, W], real.
    """
    return np.sqrt((np.abs(images) ** 2).sum(0))


def is_rectangle(measured: np.ndarray) -> bool:
    """Return whether all samples of a plane are measured, apart from whole rows and columns at its edges.

    Args:
        measured: [H, W], boolean.
    """
    rows, columns = np.flatnonzero(measured.any(1)), np.flatnonzero(measured.any(0))
    return bool(len(rows)) and bool(measured[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())
