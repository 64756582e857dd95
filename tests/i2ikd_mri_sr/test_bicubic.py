"""Bicubic enlargement equals Pillow's on the pixel grid of a cropped k-space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.low_resolution import LowResolution
from PIL import Image

SIZES = [((6, 5), (12, 15)), ((5, 7), (15, 28)), ((4, 9), (16, 13)), ((3, 3), (3, 12)), ((64, 64), (256, 256))]


def _pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize with replicated borders and a box that aligns pixel n // 2 of both grids."""
    pad = 4
    padded = Image.fromarray(np.pad(image, pad, mode="edge").astype(np.float32))
    box = [0.0] * 4
    for axis, (small, large) in enumerate(zip(image.shape, size)):
        step = small / large
        start = pad + small // 2 - large // 2 * step + 0.5 - 0.5 * step
        box[1 - axis], box[3 - axis] = start, start + small
    return np.asarray(padded.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=tuple(box)))


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_it_equals_pillow_on_the_aligned_grid(small: tuple[int, int], large: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=small)
    np.testing.assert_allclose(enlarge(torch.from_numpy(image), large), _pillow(image, large), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("length", [11, 12])
def test_a_quadratic_is_reproduced_inside(factor: int, length: int) -> None:
    def curve(n: int) -> torch.Tensor:
        x = (torch.arange(n, dtype=torch.float64) - n // 2) / n
        return (3 * x**2 - x + 0.2)[None]

    result, expected = enlarge(curve(length), (1, factor * length)), curve(factor * length)
    inside = slice(2 * factor, -2 * factor)
    torch.testing.assert_close(result[:, inside], expected[:, inside])


@pytest.mark.parametrize(("size", "factor"), [((24, 36), 3), ((30, 20), 2), ((28, 36), 4)])
def test_a_smooth_wave_is_restored_at_its_position(size: tuple[int, int], factor: int) -> None:
    """Shrinking through k-space and enlarging shifts nothing; half a small pixel would be 10 times the tolerance."""
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) / n for n in size)
    image = 2 + torch.cos(2 * torch.pi * y)[:, None] * torch.sin(2 * torch.pi * x + 0.4)[None]
    back = enlarge(LowResolution(factor, None, "low").low(image), size)
    border = 2 * factor
    difference = (back - image)[border:-border, border:-border].abs().max()
    assert difference < 0.02


def test_autocast_and_batches_have_full_precision() -> None:
    image = torch.rand(2, 1, 5, 6)
    expected = enlarge(image, (10, 18))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(enlarge(image, (10, 18)), expected)
    torch.testing.assert_close(enlarge(image[1, 0], (10, 18)), expected[1, 0])
    assert enlarge(image.bfloat16(), (10, 18)).dtype == torch.float32
