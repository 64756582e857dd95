"""Measurement operator of Cartesian multi-coil MRI."""

from __future__ import annotations

import torch
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.fourier import PLANE, fourier, inverse_fourier


class SenseOperator:
    """Map an image to the k-space of all coils: A x = mask * F(maps * x).

    Axis order: batch, coils, rows (H), columns (W); the image has one entry on the coil axis. F transforms rows and
    columns. Centring: ``centered`` states the position of zero frequency in k-space and mask, and of the origin in
    images and maps, along each axis of length n: index 0 (``False``) or n // 2 (``True``). Normalisation: F is
    orthonormal, so that A has norm 1 at most for maps with a sum of squares over the coils of 1 (or 0) at each pixel,
    and ``AH`` is its adjoint: <A x, y> = <x, AH y>.

    One coil with a map of 1 is the single-coil operator mask * F. Source: Pruessmann et al. 1999, SENSE, Magn. Reson.
    Med. 42.

    Args:
        maps: complex [B, C, H, W].
        mask: real [B, 1, H, 1], [B, 1, 1, W] or [B, 1, H, W], 1 where measured.
        centered: see above.

    Raises:
        UserError: the shapes of maps and mask do not match.
    """

    def __init__(self, maps: Tensor, mask: Tensor, centered: bool = False) -> None:
        self.maps = maps
        self.mask = mask
        self.centered = centered
        height, width = maps.shape[-2:]
        axes = {(height, 1): (-2,), (1, width): (-1,), (height, width): PLANE}.get((mask.shape[-2], mask.shape[-1]))
        if axes is None or mask.shape[0] != maps.shape[0] or mask.shape[1] != 1:
            raise UserError(
                f"multi-coil operator: expected a mask of shape [{len(maps)}, 1, {height}, 1], "
                f"[{len(maps)}, 1, 1, {width}] or [{len(maps)}, 1, {height}, {width}] for maps of shape "
                f"{list(maps.shape)}, got {list(mask.shape)}"
            )
        self._axes: tuple[int, ...] = axes
        self._corner_mask = torch.fft.ifftshift(mask, PLANE) if centered else mask

    def A(self, image: Tensor) -> Tensor:  # noqa: N802 (the field's name)
        """Simulate the measurement.

        Args:
            image: complex [B, 1, H, W].

        Returns:
            k-space, complex [B, C, H, W], 0 where not measured.
        """
        return self.mask * fourier(self.maps * image, self.centered)

    def AH(self, kspace: Tensor) -> Tensor:  # noqa: N802
        """Apply the adjoint: the zero-filled image, combined with the conjugate maps.

        Args:
            kspace: complex [B, C, H, W]; ignored where not measured.

        Returns:
            Image, complex [B, 1, H, W].
        """
        return combine(inverse_fourier(self.mask * kspace, self.centered), self.maps)

    def normal(self, image: Tensor) -> Tensor:
        """Compute AH(A(image)); with a mask of lines, the transform along the lines cancels, and so does centring.

        Args:
            image: complex [B, 1, H, W].

        Returns:
            Image, complex [B, 1, H, W].
        """
        spectrum = torch.fft.fftn(self.maps * image, dim=self._axes)
        return combine(torch.fft.ifftn(self._corner_mask * spectrum, dim=self._axes), self.maps)


def combine(images: Tensor, maps: Tensor) -> Tensor:
    """Combine the images of all coils: the sum of conj(maps) * images.

    For maps with a sum of squares of 1 this is the least-squares image of noise of equal variance in all coils (Roemer
    et al. 1990, Magn. Reson. Med. 16).

    Args:
        images: complex [..., C, H, W].
        maps: complex [..., C, H, W].

    Returns:
        Complex [..., 1, H, W].
    """
    return (maps.conj() * images).sum(-3, keepdim=True)


def root_sum_of_squares(images: Tensor) -> Tensor:
    """Combine the magnitudes of all coils.

    Args:
        images: real or complex [..., C, H, W].

    Returns:
        Real [..., 1, H, W].

    >>> root_sum_of_squares(torch.tensor([[[3.0]], [[4.0]]]))
    tensor([[[5.]]])
    """
    return torch.linalg.vector_norm(images, dim=-3, keepdim=True)
