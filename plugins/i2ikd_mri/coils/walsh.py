"""Coil maps by the adaptive combination of Walsh et al. 2000."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from i2ikd import UserError
from i2ikd_mri.coils.compression import compression_matrix
from i2ikd_mri.coils.maps import CoilMaps, low_resolution


class Walsh(CoilMaps):
    """Principal eigenvector of the coils' covariance around each pixel of the low-resolution images.

    The phase of a pixel is relative to the combination of coils with the most energy in the slice. Source: Walsh et al.
    2000, Adaptive reconstruction of phased array MR imagery, Magn. Reson. Med. 43.

    Args:
        window: side of the square around a pixel, odd, in pixels.
        extent: most samples of each axis of the calibration region that are used; ``None``: all.

    Raises:
        UserError: ``window`` is even.
    """

    def __init__(self, window: Annotated[int, Field(ge=1)] = 5, extent: PositiveInt | None = None) -> None:
        if window % 2 == 0:
            raise UserError(f"coil maps 'walsh': expected an odd window, got window = {window}")
        self.window = window
        self.extent = extent

    def estimate(self, measured: Tensor, mask: Tensor, centered: bool, stored: Tensor | None) -> Tensor:
        """Return the eigenvectors; see ``CoilMaps``."""
        images = low_resolution(measured, mask, centered, self.extent)
        products = images[:, None] * images[None].conj()
        covariance = torch.complex(self._mean(products.real), self._mean(products.imag)).permute(2, 3, 0, 1)
        _, vectors = torch.linalg.eigh(covariance)
        maps = vectors[..., -1].permute(2, 0, 1)
        reference = compression_matrix(images, 1)[0]
        phase = torch.einsum("c,chw->hw", reference, maps)
        return maps * torch.exp(-1j * phase.angle())

    def _mean(self, values: Tensor) -> Tensor:
        """Average [C, C, H, W] over the window, at the borders over the part of it in the slice."""
        return F.avg_pool2d(values, self.window, 1, self.window // 2, count_include_pad=False)
