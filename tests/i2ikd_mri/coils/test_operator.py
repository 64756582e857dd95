"""The measurement operator: adjointness, agreement with a naive computation, and its shortcut for lines."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.operator import SenseOperator, combine, root_sum_of_squares
from i2ikd_mri.fourier import fourier
from torch import Tensor

from i2ikd import UserError

CASES = list(itertools.product(["rows", "columns", "plane"], [False, True], [(6, 7), (9, 4)]))


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128)


def case(lines: str, centered: bool, size: tuple[int, int]) -> SenseOperator:
    torch.manual_seed(3)
    height, width = size
    shape = {"rows": (height, 1), "columns": (1, width), "plane": size}[lines]
    return SenseOperator(draw(2, 3, *size), (torch.rand(2, 1, *shape) < 0.5).double(), centered)


@pytest.mark.parametrize(("lines", "centered", "size"), CASES)
def test_the_adjoint_is_the_adjoint(lines: str, centered: bool, size: tuple[int, int]) -> None:
    operator = case(lines, centered, size)
    image, kspace = draw(2, 1, *size), draw(2, 3, *size)
    torch.testing.assert_close(
        torch.vdot(operator.A(image).flatten(), kspace.flatten()),
        torch.vdot(image.flatten(), operator.AH(kspace).flatten()),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize(("lines", "centered", "size"), CASES)
def test_the_measurement_equals_a_sum_over_pixels(lines: str, centered: bool, size: tuple[int, int]) -> None:
    operator, image = case(lines, centered, size), draw(2, 1, *size)
    origins = [n // 2 if centered else 0 for n in size]
    places = [np.arange(n) - origin for n, origin in zip(size, origins)]
    kernels = [np.exp(-2j * np.pi * np.outer(p, p) / n) / np.sqrt(n) for p, n in zip(places, size)]
    for sample, coil in np.ndindex(2, 3):
        seen = (operator.maps[sample, coil] * image[sample, 0]).numpy()
        expected = operator.mask[sample, 0].numpy() * (kernels[0] @ seen @ kernels[1].T)
        np.testing.assert_allclose(operator.A(image)[sample, coil].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("lines", "centered", "size"), CASES)
def test_the_normal_operator_is_both_in_turn(lines: str, centered: bool, size: tuple[int, int]) -> None:
    operator, image = case(lines, centered, size), draw(2, 1, *size)
    torch.testing.assert_close(operator.normal(image), operator.AH(operator.A(image)), rtol=1e-12, atol=1e-12)


def test_one_coil_of_map_1_is_the_masked_transform() -> None:
    mask = (torch.rand(2, 1, 1, 7) < 0.5).double()
    image = draw(2, 1, 6, 7)
    operator = SenseOperator(torch.ones(2, 1, 6, 7, dtype=torch.complex128), mask, centered=True)
    torch.testing.assert_close(operator.A(image), mask * fourier(image, centered=True))


def test_the_norm_is_1_at_most_for_maps_of_unit_energy() -> None:
    operator = case("rows", True, (6, 7))
    operator.maps /= root_sum_of_squares(operator.maps)
    image = draw(2, 1, 6, 7)
    assert operator.A(image).norm() <= image.norm()
    torch.testing.assert_close(combine(operator.maps * image, operator.maps), image)


@pytest.mark.parametrize("shape", [(2, 1, 7, 6), (1, 1, 6, 1), (2, 3, 6, 1)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=rf"for maps of shape \[2, 3, 6, 7\], got \[{', '.join(map(str, shape))}\]"):
        SenseOperator(draw(2, 3, 6, 7), torch.ones(shape))
