"""Scale of multi-coil k-space, from its centre alone, which undersampled data has too."""

from __future__ import annotations

import numpy as np

from i2ikd_mri.conventions import has_energy_at_other_position

_CENTRE = 32
"""Length of an axis over the length of the centre: less than the 4 % that the usual masks measure at 8x."""

_FINER = 4
"""Points of the grid, on which the largest value is searched, for each sample."""


def central_brightness(kspace: np.ndarray) -> float:
    """Return the largest value of the low-resolution image of the centre of k-space.

    The image is the root sum of squares over the coils, of 1/32 of each axis around zero frequency, at least 2 samples.
    Zero frequency is at index 0 or n // 2, where the energy is.

    Args:
        kspace: complex [coils, H, W], orthonormal.
    """
    corner = has_energy_at_other_position(np.linalg.norm(kspace, axis=0), centered=True)
    moved = np.fft.fftshift(kspace, (-2, -1)) if corner else kspace
    height, width = kspace.shape[-2:]
    sizes = [min(n, max(2, n // _CENTRE)) for n in (height, width)]
    rows, columns = (slice(n // 2 - size // 2, n // 2 - size // 2 + size) for n, size in zip((height, width), sizes))
    grid = [_FINER * size for size in sizes]
    images = np.fft.ifft2(moved[:, rows, columns], grid, norm="ortho")
    return float(np.linalg.norm(images, axis=0).max() * np.sqrt(grid[0] * grid[1] / (height * width)))
