"""A reconstructed volume is written as HDF5, NIfTI with the affine of the input, NumPy, TIFF or PNG."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from i2ikd_mri.single_file import is_volume, open_file, write_volume
from PIL import Image

import i2ikd
from i2ikd import UserError

VOLUME = np.random.default_rng(0).uniform(size=(6, 4, 3)).astype(np.float32)
AFFINE = np.array([[0, -2.0, 0, 5], [3, 0, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]])


def test_hdf5_holds_the_volume_with_slices_last(tmp_path: Path) -> None:
    write_volume(VOLUME, tmp_path / "new" / "out.h5")
    with h5py.File(tmp_path / "new" / "out.h5") as file:
        assert np.array_equal(file["reconstruction"][:], VOLUME)
        assert file["reconstruction"].dtype == np.float32


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_nifti_result_has_axis_and_affine_of_its_source(tmp_path: Path, axis: int) -> None:
    stored = np.moveaxis(VOLUME, -1, axis)
    nibabel.save(nibabel.Nifti1Image(stored, AFFINE), tmp_path / "in.nii.gz")
    source = i2ikd.create("dataset", "folder", root=tmp_path, reader={"name": "nifti", "axis": axis}, normalise="none")
    volume = open_file(source, tmp_path / "in.nii.gz")
    write_volume(np.stack([volume[i]["image"] for i in range(3)], -1), tmp_path / "out.nii", volume)
    result = nibabel.load(tmp_path / "out.nii")
    np.testing.assert_allclose(result.affine, AFFINE)
    np.testing.assert_array_equal(np.asarray(result.dataobj), stored)


def test_a_resampled_nifti_result_has_the_same_centre_voxel_and_field_of_view(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME, AFFINE), tmp_path / "in.nii")
    source = i2ikd.create("dataset", "folder", root=tmp_path, size=(9, 8))
    volume = open_file(source, tmp_path / "in.nii")
    write_volume(np.zeros((9, 8, 3), np.float32), tmp_path / "out.nii", volume)
    affine = nibabel.load(tmp_path / "out.nii").affine
    np.testing.assert_allclose(affine @ [9 // 2, 8 // 2, 1, 1], AFFINE @ [6 // 2, 4 // 2, 1, 1])
    np.testing.assert_allclose(affine[:3, :2] * [9, 8], AFFINE[:3, :2] * [6, 4])


def test_pngs_are_scaled_by_the_maximum_of_the_volume(tmp_path: Path) -> None:
    write_volume(VOLUME, tmp_path / "pictures")
    pictures = [np.asarray(Image.open(p)) for p in sorted((tmp_path / "pictures").iterdir())]
    np.testing.assert_allclose(np.stack(pictures, -1) / 255, VOLUME / VOLUME.max(), atol=0.51 / 255)


@pytest.mark.parametrize("name", ["out.npy", "out.tif", "OUT.TIFF"])
def test_a_written_stack_is_read_back_unchanged(tmp_path: Path, name: str) -> None:
    write_volume(VOLUME, tmp_path / name)
    volume = i2ikd.create("reader", "image")(tmp_path / name)
    np.testing.assert_array_equal(np.stack([volume[i]["image"] for i in range(len(volume))], -1), VOLUME)


def test_one_slice_is_one_png(tmp_path: Path) -> None:
    write_volume(VOLUME[..., 1:2], tmp_path / "out.png")
    picture = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_allclose(picture / 255, VOLUME[..., 1] / VOLUME[..., 1].max(), atol=0.51 / 255)


def test_a_volume_is_detected_by_its_suffix_or_the_files_of_its_folder(tmp_path: Path) -> None:
    for name in ("a.h5", "b.nii.gz", "c.txt", "pictures/1.png", "pictures/2.TIF", "mixed/1.png", "mixed/a.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "empty").mkdir()

    def detected(source: i2ikd.VolumeSource) -> set[str]:
        return {path.name for path in tmp_path.iterdir() if is_volume(source, path)}

    assert detected(i2ikd.create("dataset", "folder", root=tmp_path)) == {"a.h5", "b.nii.gz", "pictures"}
    assert detected(i2ikd.create("dataset", "folder", root=tmp_path, reader="nifti")) == {"b.nii.gz"}
    assert detected(i2ikd.create("dataset", "phantom")) == {"a.h5", "b.nii.gz", "pictures"}


def test_a_file_is_opened_with_the_options_of_the_dataset_and_all_slices(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["volfs"] = VOLUME * 10
    source = i2ikd.create("dataset", "folder", root=tmp_path / "absent", slices={"limit": 1})
    volume = open_file(source, tmp_path / "one.h5")
    assert len(volume) == 3
    np.testing.assert_allclose(volume[1]["image"], VOLUME[..., 1] / VOLUME.max(), rtol=1e-6)
    phantom = i2ikd.create("dataset", "phantom")
    np.testing.assert_allclose(open_file(phantom, tmp_path / "one.h5")[1]["image"], volume[1]["image"])


def test_unsupported_input_and_output_is_refused(tmp_path: Path) -> None:
    source = i2ikd.create("dataset", "folder", root=tmp_path)
    with pytest.raises(UserError, match="no such file"):
        open_file(source, tmp_path / "nowhere.h5")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no reader for this suffix"):
        open_file(source, tmp_path / "notes.txt")
    with pytest.raises(UserError, match=r"expected a suffix of .*, got \'\.jpg\'"):
        write_volume(VOLUME, tmp_path / "out.jpg")
    with pytest.raises(UserError, match=r"expected a volume of 1 slice for a PNG, got 3 slices; write to .*/out for"):
        write_volume(VOLUME, tmp_path / "out.png")
    with pytest.raises(UserError, match="cannot be written"):
        write_volume(VOLUME, tmp_path / "notes.txt" / "out.h5")
