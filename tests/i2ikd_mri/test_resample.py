"""Resampling through k-space preserves mean, frequencies and dtype, for odd and even sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from i2ikd_mri.resample import resample, resample_slice

from i2ikd import UserError

SIZES = [((8, 6), (4, 12)), ((7, 6), (5, 9)), ((8, 5), (9, 4)), ((6, 6), (6, 3)), ((5, 8), (8, 5))]


def _naive(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Copy the frequencies that both grids have, one by one."""
    old = np.fft.fft2(image) / image.size
    new = np.zeros(size, dtype=complex)
    for u in range(-(size[0] // 2), size[0] - size[0] // 2):
        for v in range(-(size[1] // 2), size[1] - size[1] // 2):
            inside = all(-(n // 2) <= k < n - n // 2 for k, n in zip((u, v), image.shape))
            new[u, v] = old[u, v] if inside else 0
    return np.fft.ifft2(new) * new.size


def _shifted_origin(image: np.ndarray) -> np.ndarray:
    return np.fft.ifftshift(image)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_complex_image_has_the_frequencies_common_to_both_grids(old: tuple[int, int], new: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    image = random.normal(size=old) + 1j * random.normal(size=old)
    result = resample_slice(image, new)
    assert result.dtype == np.complex128
    np.testing.assert_allclose(_shifted_origin(result), _naive(_shifted_origin(image), new), atol=1e-12)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_a_magnitude_image_stays_real_with_the_same_mean(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(1, 2, size=old)
    result = resample_slice(image, new)
    assert result.dtype == np.float64
    assert result.shape == new
    np.testing.assert_allclose(result.mean(), image.mean(), atol=1e-12)
    np.testing.assert_allclose(_shifted_origin(result), _naive(_shifted_origin(image), new).real, atol=1e-12)


@pytest.mark.parametrize("size", [(9, 7), (12, 10), (8, 11)])
def test_a_smooth_wave_is_sampled_on_the_new_grid(size: tuple[int, int]) -> None:
    """Pixel n // 2 of either grid has the same position."""

    def wave(shape: tuple[int, int]) -> torch.Tensor:
        y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / n for n in shape)
        return 3 + torch.cos(2 * torch.pi * (y[:, None] + 2 * x[None, :]) + 0.3)

    torch.testing.assert_close(resample(wave((8, 6)), size), wave(size))
    torch.testing.assert_close(resample(wave(size), (8, 6)), wave((8, 6)))


def test_the_same_size_changes_nothing() -> None:
    image = torch.randn(3, 5, 4)
    assert torch.equal(resample(image, (5, 4)), image)


def test_single_precision_stays_single() -> None:
    assert resample(torch.rand(6, 4), (3, 8)).dtype == torch.float32
    assert resample(torch.rand(6, 4).to(torch.complex64), (3, 8)).dtype == torch.complex64


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"size = \[0, 4\]"):
        resample(torch.rand(4, 4), (0, 4))
