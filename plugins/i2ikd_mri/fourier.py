"""Orthonormal Fourier transforms of complex tensors, and conversion to real and imaginary channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PLANE = (-2, -1)
"""Axes of a slice: rows (H) and columns (W), always the last two."""


def fourier(image: Tensor, centered: bool = False, axes: Sequence[int] = PLANE) -> Tensor:
    """Transform an image to k-space.

    Args:
        image: [..., H, W], real or complex.
        centered: ``False``: zero frequency and image origin at index 0 of each transformed axis; ``True``: both at
            index n // 2 of an axis of length n (shift, transform, shift).
        axes: transformed axes: the last two (rows, columns), or one of them for a transform of lines.

    Returns:
        k-space [..., H, W], complex, with axes in the order of ``image``. Normalisation is orthonormal: 1 / sqrt(n) for
        each axis and in either direction, so that the transform is unitary and its adjoint is ``inverse_fourier``.

    >>> fourier(torch.ones(2, 2)).real
    tensor([[2., 0.],
            [0., 0.]])
    >>> fourier(torch.ones(2, 2), centered=True).real
    tensor([[0., 0.],
            [0., 2.]])
    """
    if not centered:
        return torch.fft.fftn(image, dim=tuple(axes), norm="ortho")
    spectrum = torch.fft.fftn(torch.fft.ifftshift(image, tuple(axes)), dim=tuple(axes), norm="ortho")
    return torch.fft.fftshift(spectrum, tuple(axes))


def inverse_fourier(kspace: Tensor, centered: bool = False, axes: Sequence[int] = PLANE) -> Tensor:
    """Transform k-space to an image; inverse and adjoint of ``fourier`` with the same arguments.

    Args:
        kspace: [..., H, W], complex.
        centered: position of zero frequency and image origin: index 0 (``False``) or n // 2 (``True``).
        axes: transformed axes, as in ``fourier``.

    Returns:
        Image [..., H, W], complex. Normalisation is orthonormal: 1 / sqrt(n) for each axis.

    >>> inverse_fourier(torch.tensor([[2., 0.], [0., 0.]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
    if not centered:
        return torch.fft.ifftn(kspace, dim=tuple(axes), norm="ortho")
    image = torch.fft.ifftn(torch.fft.ifftshift(kspace, tuple(axes)), dim=tuple(axes), norm="ortho")
    return torch.fft.fftshift(image, tuple(axes))


def to_channels(image: Tensor) -> Tensor:
    """Split a complex image into real and imaginary channels.

    Args:
        image: [..., H, W], complex.

    Returns:
        [..., 2, H, W], real: channel 0 is the real part, channel 1 the imaginary part. Shares the memory of ``image``.

    >>> to_channels(torch.tensor([[1 + 2j]]))
    tensor([[[1.]],
    <BLANKLINE>
            [[2.]]])
    """
    return torch.view_as_real(image).movedim(-1, -3)


def from_channels(image: Tensor) -> Tensor:
    """Join real and imaginary channels to a complex image; inverse of ``to_channels``.

    Args:
        image: [..., 2, H, W], float32 or float64.

    Returns:
        [..., H, W], complex64 or complex128.
    """
    return torch.complex(image[..., 0, :, :], image[..., 1, :, :])
