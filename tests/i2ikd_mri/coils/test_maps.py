"""Coil maps explain the coils' images, use measured samples only, and have unit energy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from i2ikd_mri.coils.compression import compressed, compression_matrix
from i2ikd_mri.coils.maps import CoilMaps, unexplained_energy
from i2ikd_mri.fourier import fourier, inverse_fourier
from i2ikd_mri.masks import Equispaced
from torch import Tensor

import i2ikd
from i2ikd import UserError

SIZE = (72, 60)
ESTIMATED = ["low-resolution", "walsh", "espirit"]
REAL = os.environ.get("I2IKD_TEST_DATA")


@pytest.fixture(scope="module")
def coils(scan: Callable[..., Any]) -> Tensor:
    image, maps = scan(5, SIZE)
    return image * maps


def create(name: str, **options: Any) -> CoilMaps:
    return i2ikd.create("coil_map", name, **options)


@pytest.mark.parametrize("name", ESTIMATED)
@pytest.mark.parametrize("centered", [False, True])
def test_estimated_maps_explain_the_coils_of_a_smooth_array(name: str, centered: bool, coils: Tensor) -> None:
    mask = Equispaced(acceleration=4, axis=1, centre_lines=12)(SIZE, centered=centered)
    maps = create(name)(fourier(coils, centered) * mask, mask, centered)
    assert maps.dtype == torch.complex64 and maps.shape == coils.shape
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(SIZE), rtol=1e-4, atol=1e-4)
    assert unexplained_energy(coils, maps) < 5e-3 < unexplained_energy(coils, maps.roll(1, 0))


@pytest.mark.parametrize("name", ESTIMATED)
def test_maps_depend_on_measured_samples_only(name: str, coils: Tensor) -> None:
    mask = Equispaced(acceleration=4, axis=1, centre_lines=10)(SIZE, centered=True)
    full = fourier(coils, True)
    assert torch.equal(create(name)(full, mask, True), create(name)(full * mask, mask, True))


@pytest.mark.parametrize("name", ["low-resolution", "walsh"])
def test_phases_of_maps_are_smooth(name: str, coils: Tensor) -> None:
    mask = torch.ones(SIZE[0], 1)
    maps = create(name, extent=16)(fourier(coils, True), mask, True)
    object_ = coils.abs().square().sum(0) > 0.01
    inside = object_[1:] & object_[:-1]
    steps = (maps[:, 1:] - maps[:, :-1]).abs().square().sum(0).sqrt()
    assert steps[inside].max() < 0.5, "a phase of each pixel of its own gives steps of 2"


def test_the_low_resolution_maps_are_images_of_the_tapered_centre(coils: Tensor) -> None:
    mask = torch.zeros(SIZE[0], 1)
    mask[::5], mask[33:39] = 1, 1
    mask[32] = mask[39] = 0
    window = torch.zeros(SIZE)
    rows, columns = (torch.sin(torch.pi * torch.arange(1, n + 1) / (n + 1)) ** 2 for n in (6, SIZE[1]))
    window[SIZE[0] // 2 - 3 : SIZE[0] // 2 + 3] = rows[:, None] * columns
    images = inverse_fourier(fourier(coils, True) * window, True)
    found = create("low-resolution")(fourier(coils, True), mask, True)
    torch.testing.assert_close(found * images.norm(dim=0), images, rtol=1e-4, atol=1e-5)


def test_stored_maps_are_scaled_and_their_zeros_stay(coils: Tensor) -> None:
    stored = 3 * coils
    stored[:, :5] = 0
    maps = create("stored")(coils, torch.ones(1, SIZE[1]), True, stored)
    energy = (stored != 0).any(0).float()
    assert 0 < energy[5:].sum() < energy.numel()
    torch.testing.assert_close(maps.abs().square().sum(0), energy)
    torch.testing.assert_close(maps * stored.abs().square().sum(0).sqrt(), stored)


def test_what_cannot_be_estimated_is_refused(coils: Tensor) -> None:
    line = torch.zeros(1, SIZE[1])
    line[0, SIZE[1] // 2] = 1
    for name, mask, options, message in (
        ("stored", line, {}, "expected a file with maps, got none"),
        ("espirit", line, {}, "larger than the kernel of 6 samples, got 1"),
        ("walsh", 1 - line, {}, "without zero frequency"),
        ("walsh", line, {"window": 4}, "odd window, got window = 4"),
        ("low-resolution", line, {"extend": 4}, "did you mean 'extent'"),
    ):
        with pytest.raises(UserError, match=message):
            create(name, **options)(coils, mask, True)
    with pytest.raises(UserError, match=r"of the shape of the k-space \[5, 72, 60\], got \[4, 72, 60\]"):
        create("stored")(coils, line, True, coils[:4])


def test_the_identity_of_an_estimator_is_json_with_its_options() -> None:
    texts = [json.dumps(create("walsh", window=window).identity()) for window in (3, 5)]
    assert len(set(texts)) == 2 and "window" in texts[0]


def test_virtual_coils_hold_the_most_energy_and_all_of_it_if_their_number_allows(coils: Tensor) -> None:
    matrix = compression_matrix(coils, 5)
    torch.testing.assert_close(matrix @ matrix.mH, torch.eye(5).to(torch.complex64), rtol=1e-5, atol=1e-5)
    virtual = compressed(coils, matrix)
    energies = virtual.abs().square().sum((1, 2))
    torch.testing.assert_close(energies, torch.linalg.svdvals(coils.flatten(1)) ** 2, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(compressed(coils, compression_matrix(coils, 2)), virtual[:2], rtol=1e-4, atol=1e-5)
    assert len(compression_matrix(coils, 9)) == 5


@pytest.mark.skipif(not REAL, reason="I2IKD_TEST_DATA names no folder of real data")
@pytest.mark.parametrize("name", ESTIMATED)
def test_maps_of_a_real_head_leave_less_than_1_percent_of_the_energy_unexplained(name: str) -> None:
    """Pixels of noise alone are excluded: of noise, no maps explain more than 1 / coils."""
    path = Path(REAL or "") / "multicoil" / "brain8ch.h5"
    if not path.is_file():
        pytest.skip(f"I2IKD_TEST_DATA has no file multicoil/{path.name}")
    with h5py.File(path) as file:
        kspace = torch.from_numpy(file["kspace"][()])
    mask = Equispaced(acceleration=4, axis=1, centre_lines=14)(kspace.shape[-2:], centered=True)
    images = inverse_fourier(kspace, True)
    maps = create(name)(kspace * mask, mask, True)
    brightness = images.abs().square().sum(0).sqrt()
    signal = brightness > 0.1 * brightness.max()
    assert brightness[signal].square().sum() > 0.98 * brightness.square().sum()
    assert unexplained_energy(images * signal, maps) < 0.01
