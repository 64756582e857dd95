"""Smooth random functions of space, from which folds, texture and shading of a simulated subject are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_MARGIN = 3
"""Grid points repeated on either side of a periodic axis, as far as a cubic spline reaches."""
_LOWEST, _HIGHEST = -0.6, 0.8
"""Range of z that the fields cover, in half fields of view."""


@dataclass(frozen=True)
class SmoothField:
    """Noise of unit variance on a grid over (z, first, second), interpolated by a smoothing cubic spline.

    Attributes:
        grid: [Z, M, N] values.
        low: lowest value of each of the two in-plane coordinates.
        step: grid spacing of each of the two.
    """

    grid: np.ndarray
    low: tuple[float, float]
    step: tuple[float, float]

    def __call__(self, first: np.ndarray, second: np.ndarray, z: float) -> np.ndarray:
        """Interpolate the field.

        Args:
            first: [H, W], first in-plane coordinate.
            second: [H, W], second in-plane coordinate.
            z: height in half fields of view, clipped to the range of the grid.

        Returns:
            Values [H, W].
        """
        last = self.grid.shape[0] - 1
        position = np.clip((z - _LOWEST) / (_HIGHEST - _LOWEST), 0.0, 1.0) * last
        base = min(int(position), last - 1)
        plane = _smooth_step(self.grid[base], self.grid[base + 1], position - base)
        at = [(first - self.low[0]) / self.step[0], (second - self.low[1]) / self.step[1]]
        return ndimage.map_coordinates(plane, at, order=3, prefilter=False, mode="nearest")


def _smooth_step(below: np.ndarray, above: np.ndarray, share: float) -> np.ndarray:
    """Interpolate between two planes with weights whose squares sum to 1, so that the variance stays 1."""
    angle = 0.5 * np.pi * share
    return (np.cos(angle) * below + np.sin(angle) * above).astype(np.float32)


def polar_field(
    generator: np.random.Generator, angular: tuple[float, float], radial: float, height: float
) -> SmoothField:
    """Generate noise over (angle in radians -pi..pi, radius 0..1), periodic in the angle.

    Args:
        generator: source of randomness.
        angular: lowest and highest number of cycles in a full turn.
        radial: highest number of cycles from the centre to radius 1.
        height: correlation length in z, in half fields of view.

    Returns:
        A field of unit variance, whose coordinates are (angle, radius).
    """
    angles, radii, heights = 96, 24, _planes(height)
    spectrum = np.fft.rfftn(generator.standard_normal((heights, radii, angles)), axes=(1, 2))
    turn = np.arange(angles // 2 + 1)
    reach = np.abs(np.fft.fftfreq(radii, 1 / radii)) / 2  # the period is two radii, so that both ends are free
    keep = np.exp(-(((turn - sum(angular) / 2) / ((angular[1] - angular[0]) / 2)) ** 4))
    spectrum *= keep[None, None, :] * np.exp(-((reach / radial) ** 2))[None, :, None]
    grid = np.fft.irfftn(spectrum, s=(radii, angles), axes=(1, 2)).transpose(0, 2, 1)
    grid = _unit(grid)
    grid = np.pad(grid, ((0, 0), (_MARGIN, _MARGIN), (0, 0)), mode="wrap")
    step = 2 * np.pi / angles
    return SmoothField(grid, (-np.pi - _MARGIN * step, 0.0), (step, 1.0 / (radii - 1)))


def disc_field(generator: np.random.Generator, length: float, height: float) -> SmoothField:
    """Generate noise over (x, y) in -1.1..1.1.

    Args:
        generator: source of randomness.
        length: correlation length in the plane, in half fields of view.
        height: correlation length in z, in half fields of view.

    Returns:
        A field of unit variance, whose coordinates are (x, y).
    """
    step = min(length / 1.5, 0.4)
    points = int(np.ceil(2.2 / step)) + 2 * _MARGIN + 1
    grid = generator.standard_normal((_planes(height), points, points))
    grid = ndimage.gaussian_filter(grid, (0, 0.5 * length / step, 0.5 * length / step))
    low = -1.1 - _MARGIN * step
    return SmoothField(_unit(grid), (low, low), (step, step))


def _planes(height: float) -> int:
    """Return the number of planes in z for a correlation length."""
    return max(2, int(np.ceil((_HIGHEST - _LOWEST) / height)) + 1)


def _unit(grid: np.ndarray) -> np.ndarray:
    """Normalise to mean 0 and variance 1."""
    return ((grid - grid.mean()) / grid.std()).astype(np.float32)
