"""Orthonormal Fourier transforms of native complex tensors, and images with a real and an imaginary channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PLANE = (-2, -1)
"""The axes of a slice: rows (H) and columns (W), always the last two."""


def fourier(image: Tensor, centered: bool = False, axes: Sequence[int] = PLANE) -> Tensor:
    """Transform an image to k-space.

    Args:
        image: [..., H, W], real or complex.
        centered: ``False``: zero frequency at index 0 of k-space (the corner), image origin at index 0; ``True``:
            both at index n // 2 (shift, transform, shift).
        axes: which axes are transformed; the last two, or one for a transform of lines.

    Returns:
        Complex tensor of the same shape. Normalisation is orthonormal: 1 / sqrt(n) in either direction, so that the
        transform is unitary and its adjoint is ``inverse_fourier``.

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
        centered: where zero frequency is, as in ``fourier``.
        axes: which axes are transformed.

    Returns:
        Complex image [..., H, W], orthonormal.

    >>> inverse_fourier(torch.tensor([[2., 0.], [0., 0.]])).real
    tensor([[1., 1.],
            [1., 1.]])
    """
    if not centered:
        return torch.fft.ifftn(kspace, dim=tuple(axes), norm="ortho")
    image = torch.fft.ifftn(torch.fft.ifftshift(kspace, tuple(axes)), dim=tuple(axes), norm="ortho")
    return torch.fft.fftshift(image, tuple(axes))


def to_channels(image: Tensor) -> Tensor:
    """Split a complex image [..., H, W] into real and imaginary channels [..., 2, H, W].

    >>> to_channels(torch.tensor([[1 + 2j]]))
    tensor([[[1.]],
    <BLANKLINE>
            [[2.]]])
    """
    return torch.view_as_real(image).movedim(-1, -3)


def from_channels(image: Tensor) -> Tensor:
    """Join real and imaginary channels [..., 2, H, W] to a complex image [..., H, W]; inverse of ``to_channels``."""
    return torch.complex(image[..., 0, :, :], image[..., 1, :, :])
