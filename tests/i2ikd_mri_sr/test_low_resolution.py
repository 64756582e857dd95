"""Low-resolution images equal a sum over the kept frequencies, for any sizes, on either grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from i2ikd_mri_sr.low_resolution import LowResolution

from i2ikd import UserError

CASES = [((12, 8), (3, 4)), ((9, 15), (3, 5)), ((14, 9), (7, 3)), ((11, 10), (4, 7)), ((8, 8), (8, 2))]


def _naive(image: np.ndarray, kept: tuple[int, int], grid: tuple[int, int]) -> np.ndarray:
    """Sum the kept waves one by one; the pixel n // 2 is at the origin of every grid."""
    sides = [np.arange(n) - n // 2 for n in image.shape]
    places = [(np.arange(n) - n // 2) / n for n in grid]
    result = np.zeros(grid, complex)
    for u in range(-(kept[0] // 2), kept[0] - kept[0] // 2):
        for v in range(-(kept[1] // 2), kept[1] - kept[1] // 2):
            wave = np.exp(2j * np.pi * np.add.outer(u * sides[0] / image.shape[0], v * sides[1] / image.shape[1]))
            amplitude = (image * wave.conj()).mean()
            result += amplitude * np.exp(2j * np.pi * np.add.outer(u * places[0], v * places[1]))
    return np.abs(result)


def _image(size: tuple[int, int], kind: str) -> np.ndarray:
    random = np.random.default_rng(4)
    real = random.uniform(size=size)
    return real if kind == "real" else real + 1j * random.normal(size=size)


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize(("size", "kept"), CASES)
def test_it_is_the_sum_of_the_kept_waves_on_either_grid(
    size: tuple[int, int], kept: tuple[int, int], kind: str
) -> None:
    image = _image(size, kind)
    simulation = LowResolution(None, kept, "target")
    image_tensor = torch.from_numpy(image)
    np.testing.assert_allclose(simulation.low(image_tensor), _naive(image, kept, kept), atol=1e-12)
    np.testing.assert_allclose(simulation.zero_filled(image_tensor), _naive(image, kept, size), atol=1e-12)
    assert torch.equal(simulation.network_input(image_tensor), simulation.zero_filled(image_tensor))


def test_single_precision_and_stacks_of_slices() -> None:
    image = torch.rand(2, 3, 12, 8)
    simulation = LowResolution(2, None, "low")
    assert simulation.network_input(image).dtype == torch.float32
    assert simulation.network_input(image).shape == (2, 3, 6, 4)
    torch.testing.assert_close(simulation.network_input(image)[1, 2], simulation.low(image[1, 2]))


def test_kd_mri_keeps_64_of_256() -> None:
    assert LowResolution(None, None, "target").kept((256, 256)) == (64, 64)
    assert LowResolution(None, (64, 64), "low").kept((256, 256)) == (64, 64)


def test_a_factor_that_does_not_divide_the_size_is_rounded_on_the_target_grid_and_refused_on_the_low_one() -> None:
    assert LowResolution(4, None, "target").kept((150, 241)) == (38, 60)
    assert LowResolution(1.5, None, "target").kept((8, 3)) == (5, 2)
    assert LowResolution(3, None, "low").kept((15, 21)) == (5, 7)
    with pytest.raises(UserError, match=r"150x241.*38x60.*integer multiple"):
        LowResolution(4, None, "low").kept((150, 241))


def test_sizes_that_cannot_be_enlarged_are_refused() -> None:
    with pytest.raises(UserError, match="expected either factor or keep"):
        LowResolution(4, (64, 64), "target")
    for kept in ((8, 8), (9, 4)):
        with pytest.raises(UserError, match=r"8x8.*expected a kept part smaller than the slice"):
            LowResolution(None, kept, "target").kept((8, 8))
    with pytest.raises(UserError, match=r"the full size is not known; set -o task\.dataset\.size"):
        LowResolution(None, (4, 4), "target").enlarged((4, 4))
    assert LowResolution(None, (4, 5), "target").enlarged((4, 10), (12, 20)) == (12, 40)
    assert LowResolution(2.5, None, "target").enlarged((4, 7)) == (10, 18)
