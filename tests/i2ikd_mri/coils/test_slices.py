"""Multi-coil slices: what was measured, what a file states, and a scale that undersampled data has too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.scale import central_brightness
from i2ikd_mri.coils.slices import CoilSlice, CoilSlices, without_gaps
from i2ikd_mri.fourier import fourier
from i2ikd_mri.volumes import PreparedVolume

import i2ikd
from i2ikd import BoundedCache, UserError

SIZE = (64, 48)
KINDS = ["fastmri-random", "fastmri-equispaced", "variable-density", "equispaced"]


class Scanned:
    """Volume of one slice."""

    name = "head"

    def __init__(self, reconstruction_size: tuple[int, int] | None = None, **fields: np.ndarray) -> None:
        self._fields = fields
        if reconstruction_size is not None:
            self.reconstruction_size = reconstruction_size

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._fields


def read(reconstruction_size: tuple[int, int] | None = None, **fields: np.ndarray) -> CoilSlice:
    volume = Scanned(reconstruction_size, **fields)
    return CoilSlices([volume], BoundedCache(1, policy="refuse"), "test")[0]


@pytest.fixture(scope="module")
def kspace(scan: Callable[..., Any]) -> np.ndarray:
    image, maps = scan(4, SIZE)
    return fourier(image * maps, centered=True).numpy()


def test_a_fully_sampled_slice_is_complete_and_padding_does_not_count(kspace: np.ndarray) -> None:
    found = read(kspace=kspace)
    assert found.complete and found.mask is None and found.maps is None and found.reconstruction_size is None
    np.testing.assert_array_equal(found.kspace, kspace)
    padded = kspace.copy()
    padded[..., :5] = padded[..., 46:] = 0
    found = read((32, 99), kspace=padded)
    assert found.complete and found.measured.shape == (1, 48) and found.reconstruction_size == (32, 48)
    assert found.measured[0].nonzero()[:, 0].tolist() == list(range(5, 46))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1])
def test_an_undersampled_slice_is_not_complete_and_its_support_is_the_mask(
    kspace: np.ndarray, kind: str, axis: int
) -> None:
    mask = i2ikd.create("mask", kind, axis=axis)(SIZE, (), centered=True)
    for fields in ({}, {"mask": np.broadcast_to(mask.numpy(), SIZE)}):
        found = read(kspace=kspace * mask.numpy(), **fields)
        assert not found.complete and torch.equal(found.measured, mask)
        assert found.mask is None if not fields else torch.equal(found.mask, mask)


def test_full_k_space_with_a_mask_is_complete(kspace: np.ndarray) -> None:
    mask = np.ones((1, 48), np.float32)
    assert read(kspace=kspace, mask=mask).complete
    assert read(kspace=kspace, mask=mask).mask.shape == (1, 48)


def test_an_elliptical_k_space_has_no_gaps_and_a_plane_of_single_samples_has() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 20), torch.linspace(-1, 1, 15), indexing="ij")
    assert without_gaps((rows**2 + columns**2 <= 1).float())
    assert not without_gaps((torch.rand(20, 15, generator=torch.Generator().manual_seed(0)) < 0.5).float())


@pytest.mark.parametrize("centered", [False, True])
def test_the_scale_is_that_of_the_centre_which_every_mask_measures(kspace: np.ndarray, centered: bool) -> None:
    stored = kspace if centered else np.fft.ifftshift(kspace, (-2, -1))
    window = np.zeros(SIZE)
    window[31:33, 23:25] = 1
    image = np.fft.ifft2(np.fft.ifftshift(kspace * window, (-2, -1)), norm="ortho")
    expected = np.sqrt((np.abs(image) ** 2).sum(0)).max()
    assert central_brightness(stored) == pytest.approx(expected, rel=0.02)  # on a grid
    for kind in KINDS:
        mask = i2ikd.create("mask", kind)(SIZE, (), centered).numpy()
        assert central_brightness(stored * mask) == pytest.approx(central_brightness(stored), rel=1e-6)
    volume = PreparedVolume(Scanned(kspace=stored, image=np.ones(SIZE, np.float32)), "head")
    assert volume.scale == pytest.approx(central_brightness(stored), rel=1e-6)
    assert volume.size_after == [SIZE]
    np.testing.assert_allclose(volume[0]["kspace"], stored / volume.scale)


def test_what_is_no_multi_coil_slice_is_refused(kspace: np.ndarray) -> None:
    image = np.abs(kspace[0])
    for fields, message in (
        ({"image": image}, r"head, slice 0: expected multi-coil k-space .* got image of one coil; .*'mri-recon'"),
        ({"kspace": kspace[0]}, "got kspace of one coil"),
        ({"kspace": kspace.transpose(2, 1, 0)}, "got 48 coils of 64 x 4; check the order of the axes"),
        ({"kspace": kspace * 0}, "all zero"),
        ({"kspace": kspace + np.where(kspace == kspace.max(), np.inf, 0)}, "kspace has 1 NaN or infinite"),
        ({"kspace": kspace, "mask": image}, r"mask of zeros and ones of the size of the k-space \[64, 48\]"),
        ({"kspace": kspace, "mask": np.ones((1, 47))}, r"or its lines, got \[1, 47\]"),
        ({"kspace": kspace, "maps": kspace[:3]}, r"of the shape of the k-space \[4, 64, 48\], got \[3, 64, 48\]"),
    ):
        with pytest.raises(UserError, match=message):
            read(**fields)
