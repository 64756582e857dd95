"""Readers are registered, selected by suffix, and agree with h5py on real files."""

from __future__ import annotations

import os
import types
from pathlib import Path

import h5py
import numpy as np
import pytest
from i2ikd_mri.reader_choice import ReaderChoice
from i2ikd_mri.readers import SUFFIXES, candidates, known_suffixes
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader
from i2ikd_mri.readers.kdmri import KdMriReader

import i2ikd
from i2ikd import Reader, Registry, UserError
from i2ikd.component import Plugin
from i2ikd.hookspecs import Register


def test_a_stem_has_no_part_of_the_suffix() -> None:
    choice = ReaderChoice(None, i2ikd.default_registry())
    assert choice.stem("a.b.NII.GZ") == "a.b"
    assert choice.stem("volume.mha") == "volume"
    layouts = ["kdmri-hdf5", "complex-hdf5", "fastmri", "ismrmrd", "calgary-campinas", "skm-tea", "hdf5"]
    assert candidates("x.HDF5") == layouts
    assert candidates("x.mha") == []


@pytest.mark.parametrize("name", SUFFIXES)
def test_every_bundled_reader_is_registered(name: str) -> None:
    assert i2ikd.create("reader", name).suffixes == SUFFIXES[name]
    with pytest.raises(UserError, match="unknown option"):
        i2ikd.create("reader", name, colour=1)


def test_a_reader_of_another_plugin_is_selected_by_its_registered_suffixes() -> None:
    module = types.ModuleType("others")

    def register_readers(register: Register) -> None:
        register("mha", MetaImage, suffixes=".mha .mhd")
        register("without-suffixes", MetaImage)

    module.register_readers = i2ikd.hookimpl(register_readers)  # type: ignore[attr-defined]
    registry = Registry([Plugin("others", module=module)])
    assert candidates("volume.mha", registry) == ["mha"]
    assert ReaderChoice(None, registry).stem("volume.mhd") == "volume"
    assert known_suffixes(registry) == {"mha": (".mha", ".mhd")}


class MetaImage:
    """Reader that is registered and not created."""


REAL = os.environ.get("I2IKD_TEST_DATA")


@pytest.mark.skipif(not REAL, reason="I2IKD_TEST_DATA names no folder of real data")
@pytest.mark.parametrize(
    ("folder", "reader", "key", "axis"),
    [
        ("brain", KdMriReader(), "volfs", 2),
        ("knee", KdMriReader(), "volfs", 2),
        ("complex", ComplexHdf5Reader(), "image", 0),
    ],
    ids=["brain", "knee", "complex"],
)
def test_real_files_equal_the_arrays_of_h5py(folder: str, reader: Reader, key: str, axis: int) -> None:
    paths = sorted(Path(str(REAL), folder, "test").glob("*.h5"))
    if not paths:
        pytest.skip(f"I2IKD_TEST_DATA has no file {folder}/test/*.h5")
    with h5py.File(paths[0]) as file:
        expected = np.moveaxis(file[key][()], axis, 0)
    np.testing.assert_array_equal([s["image"] for s in reader(paths[0])], expected)


def test_new_data_is_read_by_the_reader_of_each_file(tmp_path: Path) -> None:
    real = np.random.default_rng(0).random((2, 6, 5)).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volfs"] = np.moveaxis(real, 0, -1)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["image"] = real * np.complex64(1j)
    dataset = i2ikd.create("dataset", "folder", root=tmp_path, normalise="none", conventions="trust")
    np.testing.assert_array_equal(dataset.open(tmp_path / "a.h5")[1]["image"], real[1])
    np.testing.assert_array_equal(dataset.open(tmp_path / "b.h5")[1]["image"], real[1] * np.complex64(1j))
