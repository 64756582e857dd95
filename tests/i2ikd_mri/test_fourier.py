"""The Fourier operators are unitary, equal NumPy, and use one centring for odd and even sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from i2ikd_mri.fourier import fourier, from_channels, inverse_fourier, to_channels
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


def check_unitary(operator: Operator, adjoint: Operator, shape: tuple[int, ...]) -> None:
    """<A x, y> = <x, A* y>, ||A x|| = ||x||, and A* A x = x; complex128, arguments that are not symmetric."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(shape, dtype=torch.complex128, generator=random)
    y = torch.randn(shape, dtype=torch.complex128, generator=random)
    torch.testing.assert_close(
        torch.vdot(operator(x).flatten(), y.flatten()), torch.vdot(x.flatten(), adjoint(y).flatten())
    )
    torch.testing.assert_close(torch.linalg.vector_norm(operator(x)), torch.linalg.vector_norm(x))
    torch.testing.assert_close(adjoint(operator(x)), x)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (2, 5, 8), (1, 9)])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("axes", [(-2, -1), (-2,), (-1,)])
def test_the_transform_is_unitary_and_its_inverse_is_its_adjoint(
    shape: tuple[int, ...], centered: bool, axes: tuple[int, ...]
) -> None:
    check_unitary(lambda x: fourier(x, centered, axes), lambda y: inverse_fourier(y, centered, axes), shape)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (4, 9)])
def test_the_corner_transform_is_numpys(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(fourier(torch.from_numpy(image)).numpy(), np.fft.fft2(image, norm="ortho"), atol=1e-12)
    line = np.fft.fft(image, axis=0, norm="ortho")
    np.testing.assert_allclose(fourier(torch.from_numpy(image), axes=(-2,)).numpy(), line, atol=1e-12)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (4, 9)])
def test_the_centred_transform_is_the_sum_over_coordinates_from_minus_half(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    rows, columns = (
        np.exp(-2j * np.pi * np.outer(c, c) / n) / np.sqrt(n) for n in shape for c in [np.arange(n) - n // 2]
    )
    result = fourier(torch.from_numpy(image), centered=True).numpy()
    np.testing.assert_allclose(result, rows @ image @ columns.T, atol=1e-12)


def test_zero_frequency_is_at_the_documented_index() -> None:
    constant = torch.ones(5, 8, dtype=torch.float64)
    assert int(fourier(constant).abs().argmax()) == 0
    assert int(fourier(constant, centered=True).abs().argmax()) == 2 * 8 + 4


def test_channels_are_real_and_imaginary_part_before_the_plane() -> None:
    image = torch.complex(torch.randn(3, 4, 5), torch.randn(3, 4, 5))
    channels = to_channels(image)
    assert channels.shape == (3, 2, 4, 5)
    assert torch.equal(channels[:, 0], image.real)
    assert torch.equal(channels[:, 1], image.imag)
    assert torch.equal(from_channels(channels), image)
