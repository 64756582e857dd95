"""Conventions that data shows are checked: axis order, image or k-space, position of zero frequency."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from i2ikd_mri.conventions import (
    has_energy_at_other_position,
    is_centred_at_other_position,
    refuse_implausible_axes,
    resembles_kspace,
)
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.masks import MaskFile, VariableDensity
from i2ikd_mri.phantom import PhantomDataset

from i2ikd import UserError


class Lengthy(list):
    """Volume of a number of slices."""

    def __init__(self, slices: int) -> None:
        super().__init__([None] * slices)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Complex slices of a simulated head [3, 64, 48]."""
    (volume,) = PhantomDataset(train=1, slices=3, size=(64, 48), complex_valued=True).volumes("train")
    return np.stack([fields["image"] for fields in volume])


def kspace_of(images: np.ndarray, centered: bool) -> np.ndarray:
    spectrum = np.fft.fft2(images, norm="ortho").astype(np.complex64)
    return np.fft.fftshift(spectrum, axes=(-2, -1)) if centered else spectrum


class TestAxes:
    @pytest.mark.parametrize(("size", "slices"), [((5, 44), 48), ((44, 5), 48), ((20, 256), 256)])
    def test_narrow_slices_in_great_number_are_refused(self, size: tuple[int, int], slices: int) -> None:
        with pytest.raises(UserError, match=rf"v: .* got {slices} slices of {size[0]} x {size[1]}; .*axis order"):
            refuse_implausible_axes(Lengthy(slices), [size], "v")

    @pytest.mark.parametrize(
        ("size", "slices"), [((48, 44), 5), ((256, 256), 400), ((640, 368), 35), ((320, 40), 20), ((6, 9), 5)]
    )
    def test_other_shapes_are_accepted(self, size: tuple[int, int], slices: int) -> None:
        refuse_implausible_axes(Lengthy(slices), [size], "v")

    @pytest.mark.parametrize("side", ["height", "width"])
    @pytest.mark.parametrize(
        ("table", "key", "axis"),
        [
            ({"name": "kdmri-hdf5"}, "volfs", -1),
            ({"name": "complex-hdf5"}, "image", 0),
            ({"name": "complex-hdf5", "axis": 2, "key": "k"}, "k", 2),
            ({"name": "hdf5", "image": "i", "axes": "height width slices"}, "i", -1),
            ({"name": "image", "axis": 1}, "", 1),
        ],
    )
    def test_the_setting_in_the_message_makes_slices_of_the_shortest_axis(
        self, tmp_path: Path, table: dict[str, object], key: str, axis: int, side: str
    ) -> None:
        (tmp_path / "train").mkdir()
        stack = np.random.default_rng(0).random((48, 5, 44) if side == "height" else (48, 44, 5), np.float32)
        stored = np.moveaxis(stack, 0, axis) + (1j if table["name"] == "complex-hdf5" else 0)
        if key:
            with h5py.File(tmp_path / "train" / "v.h5", "w") as file:
                file[key] = stored
        else:
            np.save(tmp_path / "train" / "v.npy", stored)
        with pytest.raises(UserError, match="the slice axis is probably the one of 5: set reader = ") as caught:
            len(FolderDataset(tmp_path, reader=table).volumes("train")[0])
        (setting,) = re.findall(r"set (reader = \{.*\}), or conventions", str(caught.value))
        (volume,) = FolderDataset(tmp_path, reader=tomllib.loads(setting)["reader"]).volumes("train")
        assert len(volume) == 5 and sorted(volume[0]["image"].shape) == [44, 48]

    def test_a_reader_without_such_an_option_is_named(self) -> None:
        with pytest.raises(UserError, match=r"set the axis order of the reader \(i2ikd show reader dicom\)"):
            refuse_implausible_axes(Lengthy(48), [(5, 44)], "v", {"name": "dicom"})

    def test_a_dataset_refuses_or_trusts_them(self, tmp_path: Path) -> None:
        (tmp_path / "train").mkdir()
        with h5py.File(tmp_path / "train" / "m.h5", "w") as file:
            file["volfs"] = np.random.default_rng(0).random((5, 48, 44), np.float32)
        expected = r"volume 'm': .*got 44 slices of 5 x 48; .*set reader = { name = 'kdmri-hdf5', axis = 0 }"
        with pytest.raises(UserError, match=expected):
            len(FolderDataset(tmp_path).volumes("train")[0])
        assert len(FolderDataset(tmp_path, conventions="trust").volumes("train")[0]) == 44
        with pytest.raises(UserError, match="44 slices of 5 x 48"):
            FolderDataset(tmp_path).open(tmp_path / "train" / "m.h5")[0]


class TestKspace:
    @pytest.mark.parametrize("centered", [True, False])
    def test_a_kspace_is_distinguished_from_its_image(self, images: np.ndarray, centered: bool) -> None:
        for image, kspace in zip(images, kspace_of(images, centered)):
            assert resembles_kspace(kspace) and resembles_kspace(np.abs(kspace))
            assert not resembles_kspace(image) and not resembles_kspace(np.abs(image))

    def test_noise_constants_and_small_objects_are_images(self) -> None:
        rows, columns = np.mgrid[-32:32, -32:32]
        blob = np.exp(-(rows**2 + columns**2) / (2 * 4**2))
        for image in (np.random.default_rng(0).normal(size=(64, 64)), np.ones((64, 64)), np.zeros((64, 64)), blob):
            assert not resembles_kspace(image.astype(np.float32))

    def test_a_dataset_refuses_or_trusts_it(self, images: np.ndarray, tmp_path: Path) -> None:
        (tmp_path / "train").mkdir()
        with h5py.File(tmp_path / "train" / "f.h5", "w") as file:
            file["kspace"], file["image"] = kspace_of(images, True), images
        reader = {"name": "complex-hdf5", "key": "kspace"}
        with pytest.raises(UserError, match=r"volume 'f': expected an image, .*k-space.*reconstruction_rss"):
            len(FolderDataset(tmp_path, reader=reader).volumes("train")[0])
        assert len(FolderDataset(tmp_path, reader=reader, conventions="trust").volumes("train")[0]) == 3
        assert len(FolderDataset(tmp_path, reader={**reader, "key": "image"}).volumes("train")[0]) == 3


class TestCentring:
    @pytest.mark.parametrize("centered", [True, False])
    def test_energy_is_where_the_transform_puts_it(self, images: np.ndarray, centered: bool) -> None:
        for kspace in kspace_of(images, centered):
            assert not has_energy_at_other_position(kspace, centered)
            assert has_energy_at_other_position(kspace, not centered)

    @pytest.mark.parametrize("centered", [True, False])
    @pytest.mark.parametrize("shape", [(64, 48), (256, 320), (36, 40)])
    def test_a_mask_file_at_the_other_position_is_refused_unless_stated(
        self, centered: bool, shape: tuple[int, int], tmp_path: Path
    ) -> None:
        mask = VariableDensity(acceleration=4)(shape, (), centered)
        np.save(tmp_path / "mask.npy", mask.expand(shape).numpy())
        assert torch.equal(MaskFile(tmp_path / "mask.npy")(shape, (), centered), mask)
        with pytest.raises(UserError, match=f"set centered = {str(centered).lower()} in"):
            MaskFile(tmp_path / "mask.npy")(shape, (), not centered)
        kept = MaskFile(tmp_path / "mask.npy", centered=not centered)(shape, (), not centered)
        assert torch.equal(kept, mask)

    def test_masks_without_a_sampled_centre_are_accepted(self) -> None:
        equispaced = np.zeros((64, 1), np.float32)
        equispaced[::4] = 1
        for mask in (equispaced, np.ones((64, 64), np.float32), np.zeros((64, 1), np.float32)):
            assert not any(is_centred_at_other_position(mask, centered) for centered in (True, False))
