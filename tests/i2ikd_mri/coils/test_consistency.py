"""Multi-coil data consistency: its closed form for one coil, its definition for several, and its precision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.consistency import Kind, SenseConsistency, SenseMeasurement
from i2ikd_mri.coils.maps import normalised
from i2ikd_mri.data_consistency import DataConsistency
from torch import Tensor

from i2ikd import UserError

KINDS: list[Kind] = ["gradient", "cg"]
LINES = ["rows", "columns", "plane"]


def case(
    coils: int, lines: str = "columns", dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return image [2, 2, 12, 10], k-space, mask and maps of random numbers."""
    torch.manual_seed(7)
    size = 12, 10
    shape = {"rows": (12, 1), "columns": (1, 10), "plane": size}[lines]
    kind = torch.complex64 if dtype == torch.float32 else torch.complex128
    image = torch.randn(2, 2, *size, dtype=dtype)
    maps = normalised(torch.randn(2, coils, *size, dtype=kind)) if coils > 1 else torch.ones(2, 1, *size, dtype=kind)
    return image, torch.randn(2, coils, *size, dtype=kind), (torch.rand(2, 1, *shape) < 0.4).to(dtype), maps


@pytest.mark.parametrize(("kind", "lines", "centered"), list(itertools.product(KINDS, LINES, [False, True])))
def test_one_coil_of_map_1_equals_the_closed_form(kind: Kind, lines: str, centered: bool) -> None:
    image, kspace, mask, maps = case(1, lines)
    closed = DataConsistency("complex", centered)
    expected = closed(image, closed.measure(kspace, mask))
    for steps in (1, 4):
        found = SenseConsistency(kind, steps)(image, SenseMeasurement.of(kspace, mask, maps, centered))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("centered", [False, True])
def test_the_gradient_step_is_that_of_the_squared_error(centered: bool) -> None:
    image, kspace, mask, maps = case(3, dtype=torch.float64)
    step = SenseConsistency("gradient").double()
    torch.nn.init.constant_(step.weight, 0.3)
    measurement = SenseMeasurement.of(kspace, mask, maps, centered, torch.float64)
    x = image.clone().requires_grad_()
    error = measurement.operator.A(torch.complex(x[:, :1], x[:, 1:])) - mask * kspace
    (gradient,) = torch.autograd.grad(error.abs().square().sum() / 2, x)
    torch.testing.assert_close(step(image, measurement), image - 0.3 * gradient)


def test_conjugate_gradients_end_in_the_least_squares_image_nearest_to_the_start() -> None:
    image, kspace, mask, maps = case(4, dtype=torch.float64)
    found = SenseConsistency("cg", 120)(image, SenseMeasurement.of(kspace, mask, maps, True, torch.float64))
    for sample in range(2):
        columns = []
        operator = SenseMeasurement.of(kspace, mask, maps, True, torch.float64).operator
        for pixel in range(120):
            unit = torch.zeros(2, 1, 12, 10, dtype=torch.complex128)
            unit.view(2, -1)[sample, pixel] = 1
            columns.append(operator.A(unit)[sample].flatten().numpy())
        start = torch.complex(*image[sample]).flatten().numpy()
        missing = (mask * kspace)[sample].flatten().numpy() - np.stack(columns, 1) @ start
        expected = start + np.linalg.lstsq(np.stack(columns, 1), missing, rcond=1e-10)[0]
        np.testing.assert_allclose(torch.complex(*found[sample]).flatten().numpy(), expected, atol=1e-6)


def test_each_step_lowers_the_error_of_the_measurement() -> None:
    image, kspace, mask, maps = case(4)
    measurement = SenseMeasurement.of(kspace, mask, maps, True)

    def error(x: Tensor) -> float:
        return float((measurement.operator.A(torch.complex(x[:, :1], x[:, 1:])) - mask * kspace).norm())

    errors = [error(image), *(error(SenseConsistency("cg", steps)(image, measurement)) for steps in (1, 2, 4, 8))]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.9 * errors[1]
    assert error(SenseConsistency("gradient")(image, measurement).detach()) < errors[0]


@pytest.mark.parametrize("kind", KINDS)
def test_arithmetic_is_complex64_under_autocast(kind: Kind) -> None:
    image, kspace, mask, maps = case(3)
    step = SenseConsistency(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measurement = SenseMeasurement.of(kspace, mask, maps, True)
        found = step(image, measurement)
        low = step(image.bfloat16(), measurement)
    assert measurement.adjoint.dtype == torch.complex64 and found.dtype == low.dtype == torch.float32
    assert torch.equal(found, step(image, SenseMeasurement.of(kspace, mask, maps, True)))
    assert step.double()(image.double(), SenseMeasurement.of(kspace, mask, maps, True, torch.float64)).dtype == (
        torch.float64
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_image_and_the_weight(kind: Kind) -> None:
    image, kspace, mask, maps = case(2, dtype=torch.float64)
    step = SenseConsistency(kind, 2).double()
    measurement = SenseMeasurement.of(kspace, mask, maps, False, torch.float64)
    x = image[..., :4, :3].clone().requires_grad_()

    def function(corner: Tensor) -> Tensor:
        return step(torch.nn.functional.pad(corner, (0, 7, 0, 8)), measurement)[..., :2, :2]

    assert torch.autograd.gradcheck(function, [x])
    step(image.requires_grad_(), measurement).square().sum().backward()
    assert [bool(p.grad) for p in step.parameters()] == [True] * (kind == "gradient")


def test_a_sample_without_error_stays_and_has_finite_gradients() -> None:
    _, kspace, mask, maps = case(2)
    zero = torch.zeros(2, 2, 12, 10, requires_grad=True)
    found = SenseConsistency("cg")(zero, SenseMeasurement.of(torch.zeros_like(kspace), mask, maps, False))
    found.sum().backward()
    assert not found.any() and zero.grad is not None and zero.grad.isfinite().all()


def test_maps_of_another_shape_are_refused() -> None:
    _, kspace, mask, maps = case(3)
    with pytest.raises(UserError, match=r"of the shape of the k-space \[2, 3, 12, 10\], got \[2, 2, 12, 10\]"):
        SenseMeasurement.of(kspace, mask, maps[:, :2], False)
