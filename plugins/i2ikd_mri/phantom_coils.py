"""Multi-coil k-space of simulated heads."""

from __future__ import annotations

import numpy as np


def coil_maps(coils: int, size: tuple[int, int]) -> np.ndarray:
    """Return the smooth complex maps of coils on a circle around the field of view.

    Args:
        coils: number of coils, at least 1.
        size: (H, W) in pixels.

    Returns:
        [coils, H, W] complex128, with a sum of squares over the coils of 1 at each pixel.
    """
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, length) for length in size), indexing="ij")
    angles = (2 * np.pi * np.arange(coils) / coils)[:, None, None]
    x, y = 1.3 * np.cos(angles), 1.3 * np.sin(angles)
    magnitude = np.exp(-0.8 * ((columns - x) ** 2 + (rows - y) ** 2))
    phase = angles + 0.7 * (columns * np.sin(angles) - rows * np.cos(angles))
    maps = magnitude * np.exp(1j * phase)
    return maps / np.linalg.norm(maps, axis=0)


def coil_kspace(images: np.ndarray, coils: int, noise: float, generator: np.random.Generator) -> np.ndarray:
    """Simulate the k-space of all coils, with Gaussian noise of its own in each coil.

    Args:
        images: complex [slices, H, W].
        coils: number of coils.
        noise: standard deviation of the real and the imaginary part.
        generator: source of randomness.

    Returns:
        [slices, coils, H, W] complex64, orthonormal, zero frequency and image origin at n // 2.
    """
    seen = images[:, None] * coil_maps(coils, (images.shape[-2], images.shape[-1]))
    parts = generator.standard_normal((2, *seen.shape), dtype=np.float32)
    axes = (-2, -1)
    moved = np.fft.ifftshift(seen + noise * (parts[0] + 1j * parts[1]), axes)
    return np.fft.fftshift(np.fft.fft2(moved, norm="ortho"), axes).astype(np.complex64)
