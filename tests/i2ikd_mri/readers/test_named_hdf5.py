"""HDF5 and MATLAB 7.3 files in any order of axes; a file that no reader reads is refused with every reason."""

from __future__ import annotations

import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.axes import Axes
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader
from i2ikd_mri.readers.kdmri import KdMriReader
from i2ikd_mri.readers.named_hdf5 import NamedHdf5Reader
from i2ikd_mri.volumes import PreparedVolume

from i2ikd import UserError

RNG = np.random.default_rng(4)
SLICES, COILS, HEIGHT, WIDTH = 3, 2, 6, 9
IMAGE = RNG.random((SLICES, HEIGHT, WIDTH), dtype=np.float32)
KSPACE = (RNG.random((SLICES, COILS, HEIGHT, WIDTH)) + 1j * RNG.random((SLICES, COILS, HEIGHT, WIDTH))).astype("c8")


def written(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


def matlab(path: Path, **arrays: np.ndarray) -> Path:
    """Write arrays as MATLAB's format 7.3: column-major, complex values as pairs, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            stored = np.asarray(values).T
            if np.iscomplexobj(stored):
                part = stored.real.dtype
                pairs = np.empty(stored.shape, [("real", part), ("imag", part)])
                pairs["real"], pairs["imag"] = stored.real, stored.imag
                stored = pairs
            dataset = file.create_dataset(name, data=stored)
            dataset.attrs["MATLAB_class"] = np.bytes_("single" if values.dtype.itemsize in (4, 8) else "double")
    return path


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("chunked", [False, True])
def test_every_order_of_three_axes_is_read_as_slices(tmp_path: Path, order: tuple[int, ...], chunked: bool) -> None:
    names = [("slices", "height", "width")[axis] for axis in order]
    stored = IMAGE.transpose(order)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("image", data=stored, chunks=stored.shape if chunked else None)
    volume = NamedHdf5Reader(axes=" ".join(names))(tmp_path / "v.h5")
    assert len(volume) == SLICES
    for index in (2, 0, 1):
        np.testing.assert_array_equal(volume[index]["image"], IMAGE[index])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_datasets_with_fewer_axes_lack_coils_or_slices(tmp_path: Path, order: tuple[int, ...]) -> None:
    names = [("slices", "coils", "height", "width")[axis] for axis in order]
    without = {
        absent: np.argsort(np.argsort([axis for axis in order if axis not in absent]))
        for absent in ((0,), (1,), (0, 1))
    }
    mask = RNG.integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    path = written(
        tmp_path / "v.h5",
        k=KSPACE.transpose(order),
        i=IMAGE.transpose(without[(1,)]),
        c=KSPACE[0].transpose(without[(0,)]),
        m=mask.transpose(without[(0, 1)]),
    )
    volume = NamedHdf5Reader("i", "k", maps="c", mask="m", axes=" ".join(names))(path)
    prepared = PreparedVolume(volume, "v")
    fields = prepared[1]
    np.testing.assert_array_equal(fields["kspace"], KSPACE[1] / prepared.scale)
    np.testing.assert_array_equal(fields["image"], IMAGE[1] / prepared.scale)
    np.testing.assert_array_equal(fields["maps"], KSPACE[0])
    np.testing.assert_array_equal(fields["mask"], mask)


def test_new_data_has_k_space_and_no_image(tmp_path: Path) -> None:
    volume = NamedHdf5Reader(kspace="k", axes="slices coils height width")(written(tmp_path / "v.h5", k=KSPACE))
    assert len(volume) == SLICES and volume[2].keys() == {"kspace"}
    with pytest.raises(UserError, match="no dataset 'image'"):
        len(NamedHdf5Reader(axes="slices height width")(tmp_path / "v.h5"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_matlab_arrays_have_the_order_of_axes_and_the_values_of_matlab(tmp_path: Path, dtype: type) -> None:
    values = np.moveaxis(KSPACE[:, 0], 0, -1).astype(dtype) if np.dtype(dtype).kind == "c" else IMAGE.T.astype(dtype)
    path = matlab(tmp_path / "v.mat", image=values)
    volume = NamedHdf5Reader(axes="height width slices")(path)
    assert (volume.name, len(volume)) == ("v", SLICES)
    for index in range(SLICES):
        image = volume[index]["image"]
        assert image.dtype == (np.complex64 if np.dtype(dtype).kind == "c" else np.float32)
        np.testing.assert_array_equal(image, values[..., index].astype(image.dtype))


def test_a_matlab_file_of_an_older_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "v.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(600))
    with pytest.raises(UserError, match=r"not an HDF5 file; save it in MATLAB with the option -v7\.3"):
        NamedHdf5Reader()(tmp_path / "v.mat")[0]


def test_axes_that_are_not_stated_are_refused_with_the_line_that_states_them(tmp_path: Path) -> None:
    path = written(tmp_path / "v.h5", image=IMAGE, flat=IMAGE[0])
    expected = r"axes \(3, 6, 9\) is not stated; .* name = 'hdf5', image = 'image', axes = 'slices height width'"
    with pytest.raises(UserError, match=expected):
        len(NamedHdf5Reader()(path))
    np.testing.assert_array_equal(NamedHdf5Reader("flat")(path)[0]["image"], IMAGE[0])


@pytest.mark.parametrize("axes", ["", "height", "height width width", "height width time"])
def test_an_order_without_height_and_width_or_with_other_names_is_refused(axes: str) -> None:
    with pytest.raises(UserError, match="expected height and width"):
        Axes.parse(axes, "reader")


def test_datasets_of_unequal_length_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "v.h5", image=IMAGE, k=KSPACE[:2, 0])
    with pytest.raises(UserError, match="expected datasets with one number of slices, got 'image': 3, 'k': 2"):
        len(NamedHdf5Reader(kspace="k", axes="slices height width")(path))


def test_every_reader_that_refused_a_file_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    written(tmp_path / "test" / "v.h5", image=IMAGE)
    with pytest.raises(UserError) as caught:
        FolderDataset(tmp_path).volumes("test")
    message = str(caught.value)
    assert "kdmri-hdf5: no dataset 'volfs'" in message
    assert "complex-hdf5: dataset 'image': expected complex values" in message
    assert "hdf5: dataset 'image': the order of its axes" in message
    assert message.count(str(tmp_path)) == 1 and "\n" not in message


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_readers_of_fixed_names_have_an_option_for_the_slice_axis(tmp_path: Path, axis: int) -> None:
    path = written(tmp_path / "v.h5", volfs=np.moveaxis(IMAGE, 0, axis), image=np.moveaxis(KSPACE[:, 0], 0, axis))
    np.testing.assert_array_equal([s["image"] for s in KdMriReader(axis=axis)(path)], IMAGE)
    np.testing.assert_array_equal([s["image"] for s in ComplexHdf5Reader(axis=axis)(path)], KSPACE[:, 0])
