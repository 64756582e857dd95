"""Coil maps: the sensitivity of each coil at each pixel, from the measured centre of k-space or from the file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.coils.calibration import calibration_size
from i2ikd_mri.coils.operator import combine, root_sum_of_squares
from i2ikd_mri.fourier import PLANE, inverse_fourier


class CoilMaps(ABC):
    """Estimator of coil maps: a callable from the measured k-space of a slice to its maps."""

    def __call__(self, kspace: Tensor, mask: Tensor, centered: bool = False, stored: Tensor | None = None) -> Tensor:
        """Estimate the maps of a slice from what its mask measured.

        Args:
            kspace: complex [C, H, W], orthonormal; ignored where not measured.
            mask: [H, 1], [1, W] or [H, W], 1 where measured.
            centered: position of zero frequency, and of the image origin: index 0 (``False``) or n // 2 (``True``).
            stored: maps of the file, complex [C, H, W]; ``None``: it has none.

        Returns:
            Complex [C, H, W], with a sum of squares over the coils of 1, or of 0 where the maps are 0.

        Raises:
            UserError: the maps cannot be estimated from this slice.
        """
        return normalised(self.estimate(kspace * mask, mask, centered, stored))

    @abstractmethod
    def estimate(self, measured: Tensor, mask: Tensor, centered: bool, stored: Tensor | None) -> Tensor:
        """Return maps [C, H, W] of any scale; see ``__call__``.

        Args:
            measured: k-space, 0 where not measured.
            mask: see ``__call__``.
            centered: see ``__call__``.
            stored: see ``__call__``.
        """

    def identity(self) -> dict[str, Any]:
        """Return the options that the maps depend on, JSON-serialisable and without paths."""
        return {"kind": type(self).__name__, **vars(self)}


class LowResolution(CoilMaps):
    """Images of the measured centre of k-space, divided by their root sum of squares.

    The calibration region of the mask is tapered by a Hann window, which suppresses ringing. Source: McKenzie et al.
    2002, Self-calibrating parallel imaging, Magn. Reson. Med. 47.

    Args:
        extent: most samples of each axis that are used; ``None``: all of the calibration region.
    """

    def __init__(self, extent: PositiveInt | None = None) -> None:
        self.extent = extent

    def estimate(self, measured: Tensor, mask: Tensor, centered: bool, stored: Tensor | None) -> Tensor:
        """Return the low-resolution images; see ``CoilMaps``."""
        return low_resolution(measured, mask, centered, self.extent)


class StoredMaps(CoilMaps):
    """Maps of the file, scaled to a sum of squares over the coils of 1."""

    def estimate(self, measured: Tensor, mask: Tensor, centered: bool, stored: Tensor | None) -> Tensor:
        """Return the maps of the file; see ``CoilMaps``."""
        if stored is None:
            raise UserError(
                "coil maps 'stored': expected a file with maps, got none; name their dataset with the reader option "
                "maps, or set maps = 'low-resolution' in [task]"
            )
        if stored.shape != measured.shape:
            raise UserError(
                f"coil maps 'stored': expected maps of the shape of the k-space {list(measured.shape)}, got "
                f"{list(stored.shape)}"
            )
        return stored


def low_resolution(measured: Tensor, mask: Tensor, centered: bool, extent: int | None = None) -> Tensor:
    """Transform the calibration region, tapered by a Hann window.

    Args:
        measured: complex [C, H, W], 0 where not measured.
        mask: [H, 1], [1, W] or [H, W].
        centered: position of zero frequency.
        extent: most samples of each axis; ``None``: all of the region.

    Returns:
        Images [C, H, W] of low resolution, on the grid of ``measured``.

    Raises:
        UserError: zero frequency is not measured.
    """
    height, width = measured.shape[-2:]
    size = [min(n, extent or n) for n in calibration_size(mask, (height, width), centered)]
    rows, columns = (_taper(n, length) for n, length in zip((height, width), size))
    window = rows[:, None] * columns
    return inverse_fourier(measured * (window if centered else torch.fft.ifftshift(window, PLANE)), centered)


def normalised(maps: Tensor) -> Tensor:
    """Scale maps to a sum of squares over the coils of 1; pixels whose maps are 0 stay 0.

    Args:
        maps: complex [..., C, H, W].
    """
    norm = root_sum_of_squares(maps)
    return torch.where(norm > 0, maps / norm, torch.zeros_like(maps))


def unexplained_energy(images: Tensor, maps: Tensor) -> float:
    """Compute the share of the coils' energy that one image, seen through the maps, does not explain.

    Args:
        images: complex [C, H, W], fully sampled images of the coils.
        maps: complex [C, H, W], with a sum of squares of 1.

    Returns:
        ||images - maps * combine(images, maps)||^2 / ||images||^2, 0..1. Noise leaves (C - 1) / C of its energy.
    """
    left = images - maps * combine(images, maps)
    return float(left.abs().square().sum() / images.abs().square().sum())


def _taper(length: int, extent: int) -> Tensor:
    """Return a Hann window over the ``extent`` samples around length // 2, without its zeros, and 0 outside."""
    window = torch.zeros(length)
    start = length // 2 - extent // 2
    window[start : start + extent] = torch.hann_window(extent + 2, periodic=False)[1:-1]
    return window
