"""Data consistency equals its definition for every mask shape and stays in float32 under autocast."""

from __future__ import annotations

import itertools
import re
from typing import Literal

import numpy as np
import pytest
import torch
from i2ikd_mri.data_consistency import DataConsistency
from i2ikd_mri.fourier import from_channels
from torch import Tensor

from i2ikd import UserError

Mode = Literal["real", "complex"]


def naive(image: np.ndarray, kspace: np.ndarray, mask: np.ndarray, centered: bool) -> np.ndarray:
    """F^-1(mask * measured + (1 - mask) * F(x)) by full transforms of complex images [B, 1, H, W]."""
    plane = (-2, -1)
    if centered:
        spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, plane), norm="ortho"), plane)
        mixed = np.fft.ifftshift(mask * kspace + (1 - mask) * spectrum, plane)
        return np.fft.fftshift(np.fft.ifft2(mixed, norm="ortho"), plane)
    mixed = mask * kspace + (1 - mask) * np.fft.fft2(image, norm="ortho")
    return np.fft.ifft2(mixed, norm="ortho")


def _case(mode: Mode, kind: str, size: tuple[int, int], batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(size[0] * 31 + size[1])
    height, width = size
    image = torch.randn(batch, 1 if mode == "real" else 2, height, width, dtype=torch.float64, generator=random)
    kspace = torch.randn(batch, 1, height, width, dtype=torch.complex128, generator=random)
    shape = {"rows": (height, 1), "columns": (1, width), "plane": (height, width)}[kind]
    mask = (torch.rand(batch, 1, *shape, generator=random) < 0.4).double()
    return image, kspace, mask


CASES = list(
    itertools.product(
        ["real", "complex"],
        ["rows", "columns", "plane"],
        [(8, 6), (7, 5), (6, 9), (1, 4), (5, 1), (2, 3)],
        [False, True],
    )
)


@pytest.mark.parametrize(("mode", "kind", "size", "centered"), CASES)
def test_it_equals_the_definition(mode: Mode, kind: str, size: tuple[int, int], centered: bool) -> None:
    image, kspace, mask = _case(mode, kind, size)
    step = DataConsistency(mode, centered)
    result = step(image, step.measure(kspace, mask, image.dtype))
    assert result.dtype == torch.float64
    whole = image if mode == "real" else from_channels(image)[:, None]
    expected = naive(whole.numpy(), kspace.numpy(), mask.numpy(), centered)
    if mode == "real":
        np.testing.assert_allclose(result.numpy(), expected.real, atol=1e-12)
    else:
        np.testing.assert_allclose(from_channels(result)[:, None].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("centered", [False, True])
def test_a_line_mask_and_the_same_mask_as_a_plane_are_equivalent(centered: bool) -> None:
    image, kspace, mask = _case("real", "rows", (9, 6))
    step = DataConsistency("real", centered)
    lines = step(image, step.measure(kspace, mask, image.dtype))
    plane = step(image, step.measure(kspace, mask.expand(-1, -1, 9, 6), image.dtype))
    torch.testing.assert_close(lines, plane, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", ["real", "complex"])
@pytest.mark.parametrize("kind", ["rows", "columns", "plane"])
@pytest.mark.parametrize("size", [(4, 3), (3, 4)])
def test_gradients_equal_finite_differences(mode: Mode, kind: str, size: tuple[int, int]) -> None:
    image, kspace, mask = _case(mode, kind, size, batch=2)
    image.requires_grad_()
    step = DataConsistency(mode)
    measurement = step.measure(kspace, mask, image.dtype)
    assert torch.autograd.gradcheck(lambda x: step(x, measurement), (image,))
    assert torch.autograd.gradgradcheck(lambda x: step(x, measurement), (image,))


def test_gradients_reach_a_trainable_mask() -> None:
    image, kspace, mask = _case("real", "rows", (4, 3), batch=2)
    step = DataConsistency("real")
    inputs = (image.requires_grad_(), mask.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, m: step(x, step.measure(kspace, m, x.dtype)), inputs)


def test_complex_mode_replaces_measured_samples_exactly_and_is_idempotent() -> None:
    image, kspace, mask = _case("complex", "rows", (8, 6))
    step = DataConsistency("complex")
    measurement = step.measure(kspace, mask, image.dtype)
    once = step(image, measurement)
    spectrum = torch.fft.fft2(from_channels(once), norm="ortho")[:, None]
    torch.testing.assert_close(mask * spectrum, mask * kspace, atol=1e-12, rtol=0)
    torch.testing.assert_close(step(once, measurement), once, atol=1e-12, rtol=0)


def test_real_mode_keeps_a_quarter_of_the_error_energy_of_a_line_whose_mirror_is_missing() -> None:
    truth = torch.randn(1, 1, 8, 6, dtype=torch.float64)
    mask = torch.zeros(1, 1, 8, 1, dtype=torch.float64)
    mask[0, 0, 3] = 1
    step = DataConsistency("real")
    wrong = truth + torch.cos(2 * torch.pi * 3 * torch.arange(8, dtype=torch.float64) / 8)[:, None]
    kspace = torch.fft.fft2(truth, norm="ortho")
    result = step(wrong, step.measure(mask * kspace, mask, truth.dtype))
    before, after = (wrong - truth).square().sum(), (result - truth).square().sum()
    torch.testing.assert_close(after / before, torch.tensor(0.25, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["real", "complex"])
def test_it_stays_in_single_precision_under_autocast(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    image, kspace, mask = _case(mode, "rows", (8, 6))
    dtypes: list[torch.dtype] = []
    name = "rfftn" if mode == "real" else "fftn"
    original = getattr(torch.fft, name)

    def spy(tensor: Tensor, **options: object) -> Tensor:
        assert not torch.is_autocast_enabled("cpu")
        dtypes.append(tensor.dtype)
        return original(tensor, **options)

    monkeypatch.setattr(torch.fft, name, spy)
    step = DataConsistency(mode)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measurement = step.measure(kspace.to(torch.complex64), mask.float(), torch.bfloat16)
        result = step(image.bfloat16(), measurement)
    assert dtypes == [torch.float32 if mode == "real" else torch.complex64]
    assert result.dtype == torch.float32
    exact = step(image.bfloat16().double(), step.measure(kspace, mask, torch.float64))
    torch.testing.assert_close(result.double(), exact, atol=1e-5, rtol=0)


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    step = DataConsistency("real")
    kspace = torch.zeros(2, 1, 6, 5, dtype=torch.complex64)
    for shape in [(2, 1, 5, 1), (2, 1, 1, 6), (2, 1, 5, 6), (3, 1, 6, 1), (6, 5)]:
        message = r"expected a mask of shape .* for a k-space of shape \[2, 1, 6, 5\], got "
        with pytest.raises(UserError, match=message + re.escape(str(list(shape)))):
            step.measure(kspace, torch.ones(shape))
