"""Formats: values, bits and channels survive reading, and writing back."""

from __future__ import annotations

from pathlib import Path

import h5py
import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from i2ikd_pairs.formats.arrays import read_hdf5
from i2ikd_pairs.formats.files import format_of, read_file
from i2ikd_pairs.formats.stack import Stack
from PIL import Image

from i2ikd import UserError

RANDOM = np.random.default_rng(5)


def drawn(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype.startswith("float"):
        return RANDOM.random(shape).astype(dtype)
    return RANDOM.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def written_again(stack: Stack, source: Path, name: str) -> Stack:
    target = source.with_name(name)
    write = format_of(target).write
    assert write is not None
    write(stack.values, stack, target)
    return read_file(target, stack.axes if len(stack.axes) > 2 else None)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_channels_and_bits(tmp_path: Path, dtype: str, channels: int) -> None:
    array = drawn((5, 7) if channels == 1 else (5, 7, channels), dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(array))
    stack = read_file(path, None)
    expected = array[None] if channels == 1 else np.moveaxis(array, -1, 0)
    assert stack.values.dtype == dtype and np.array_equal(stack.values, expected[None])
    assert np.array_equal(written_again(stack, path, "b.png").values, stack.values)
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "b.png").read_bytes()).squeeze(), array)


def test_a_palette_is_colours_and_one_bit_is_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1").save(tmp_path / "bit.png")
    assert read_file(tmp_path / "bit.png", None).values.tolist() == [[[[0, 255]]]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "palette.png")
    assert read_file(tmp_path / "palette.png", None).values[0, :, 0, 1].tolist() == [0, 0, 255]


def test_jpeg_is_turned_as_its_exif_data_states(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((8, 16, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_file(tmp_path / "a.jpg", None).values.shape == (1, 3, 16, 8)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((6, 7), {}, (1, 1, 6, 7)),
        ((6, 7, 3), {"photometric": "rgb"}, (1, 3, 6, 7)),
        ((4, 6, 7), {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}, (4, 1, 6, 7)),
        ((4, 6, 7), {"photometric": "minisblack", "metadata": {"axes": "CYX"}}, (1, 4, 6, 7)),
        ((2, 4, 6, 7), {"photometric": "minisblack", "metadata": {"axes": "ZCYX"}}, (2, 4, 6, 7)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_keeps_axes_and_values(
    tmp_path: Path, shape: tuple[int, ...], options: dict[str, object], expected: tuple[int, ...], dtype: str
) -> None:
    array = drawn(shape, dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    stack = read_file(tmp_path / "a.tif", None)
    assert stack.values.shape == expected and stack.values.dtype == dtype
    assert np.array_equal(np.sort(stack.values.ravel()), np.sort(array.ravel()))
    again = read_file(tmp_path / "a.tif", None)
    write = format_of(tmp_path / "b.tif").write
    assert write is not None
    write(stack.values, stack, tmp_path / "b.tif")
    assert np.array_equal(read_file(tmp_path / "b.tif", None).values, again.values)


def test_numpy_axes_are_stated(tmp_path: Path) -> None:
    array = drawn((5, 7, 3), "float32")
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match="such as axes = 'height width channels'"):
        read_file(tmp_path / "a.npy", None)
    stack = read_file(tmp_path / "a.npy", ("height", "width", "channels"))
    assert np.array_equal(stack.values, np.moveaxis(array, -1, 0)[None])
    assert np.array_equal(written_again(stack, tmp_path / "a.npy", "b.npy").values, stack.values)
    assert np.load(tmp_path / "b.npy").shape == array.shape


def test_nifti_keeps_affine_type_and_order(tmp_path: Path) -> None:
    affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    array = drawn((6, 5, 4), "int16")
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii.gz")
    stack = read_file(tmp_path / "a.nii.gz", None)
    assert stack.values.shape == (4, 1, 6, 5)
    written_again(stack, tmp_path / "a.nii.gz", "b.nii")
    image = nibabel.load(tmp_path / "b.nii")
    assert np.array_equal(np.asarray(image.dataobj), array) and np.allclose(image.affine, affine)
    assert image.get_data_dtype() == np.int16


def test_the_voxels_of_an_enlarged_nifti_are_smaller_in_one_field_of_view(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(drawn((6, 5, 4), "uint8"), np.diag([2.0, 2, 3, 1])), tmp_path / "a.nii")
    stack = read_file(tmp_path / "a.nii", None)
    write = format_of(tmp_path / "b.nii").write
    assert write is not None
    write(stack.values.repeat(2, 2).repeat(2, 3), stack, tmp_path / "b.nii")
    affine = nibabel.load(tmp_path / "b.nii").affine
    assert np.allclose(np.diag(affine), [1, 1, 3, 1]) and np.allclose(affine[:3, 3], [-0.5, -0.5, 0])


def test_an_item_of_hdf5_is_read(tmp_path: Path) -> None:
    array = drawn((4, 5, 6), "uint16")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = array
    assert np.array_equal(read_hdf5(tmp_path / "a.h5", "x", None, 2).values, array[2][None, None])
    with pytest.raises(UserError, match="expected a data set 'y', got x"):
        read_hdf5(tmp_path / "a.h5", "y", None, 0)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npy", "a.nii", "a.nii.gz"])
def test_a_damaged_file_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no image at all, of no format")
    with pytest.raises(UserError, match=name):
        read_file(tmp_path / name, None)


def test_values_that_are_not_finite_or_no_numbers_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[np.nan, 1]]))
    with pytest.raises(UserError, match="not finite"):
        read_file(tmp_path / "a.npy", None)
    np.save(tmp_path / "b.npy", np.ones((2, 2), complex))
    with pytest.raises(UserError, match="real numbers"):
        read_file(tmp_path / "b.npy", None)
    np.save(tmp_path / "c.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(UserError, match=r"c\.npy"):
        read_file(tmp_path / "c.npy", None)
