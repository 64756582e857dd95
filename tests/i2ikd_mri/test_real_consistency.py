"""Matrix products remove the measured samples as the Fourier transforms do."""

from __future__ import annotations

import itertools

import pytest
import torch
from i2ikd_mri.data_consistency import DataConsistency, transformed_axes
from i2ikd_mri.real_consistency import keep_missing_operator

from i2ikd import UserError

CASES = list(itertools.product(["real", "complex"], ["rows", "columns", "plane"], [(8, 6), (7, 9)], [False, True]))


@pytest.mark.parametrize(("mode", "kind", "size", "centered"), CASES)
def test_it_equals_the_transforms(mode: str, kind: str, size: tuple[int, int], centered: bool) -> None:
    random = torch.Generator().manual_seed(5)
    height, width = size
    images = 1 if mode == "real" else 2
    image = torch.randn(3, images, height, width, dtype=torch.float64, generator=random)
    shape = {"rows": (height, 1), "columns": (1, width), "plane": (height, width)}[kind]
    mask = (torch.rand(3, 1, *shape, generator=random) < 0.4).double()
    step = DataConsistency(mode, centered)  # type: ignore[arg-type]
    nothing = torch.zeros(3, 1, height, width, dtype=torch.complex128)
    expected = step(image, step.measure(nothing, mask, image.dtype))
    operator = keep_missing_operator(mask, images, transformed_axes(nothing, mask), centered)
    torch.testing.assert_close(operator(image), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["lines", "plane"])
def test_float32_is_accurate_at_the_size_of_slices(kind: str) -> None:
    random = torch.Generator().manual_seed(6)
    image = torch.randn(1, 2, 320, 256, generator=random)
    mask = (torch.rand(1, 1, 320, 1 if kind == "lines" else 256, generator=random) < 0.3).float()
    axes = (-2,) if kind == "lines" else (-2, -1)
    error = keep_missing_operator(mask, 2, axes)(image) - keep_missing_operator(mask.double(), 2, axes)(image.double())
    assert float(error.abs().max()) < 1e-5


def test_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="expected images with 1 or 2 channels, got 3"):
        keep_missing_operator(torch.ones(1, 1, 4, 1), 3, (-2,))
