"""Readers are registered, chosen by a file's suffix, and agree with h5py on real files."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from i2ikd_mri.readers import SUFFIXES, candidates, known_suffixes, stem
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader
from i2ikd_mri.readers.kdmri import KdMriReader

import i2ikd
from i2ikd import Reader, UserError


def test_a_stem_loses_the_whole_suffix() -> None:
    assert stem("a.b.NII.GZ") == "a.b"
    assert stem("volume.mha") == "volume"
    assert candidates("x.HDF5") == ["kdmri-hdf5", "complex-hdf5"]
    assert candidates("x.mha") == []


@pytest.mark.parametrize("name", SUFFIXES)
def test_every_bundled_reader_is_registered(name: str) -> None:
    assert i2ikd.create("reader", name).suffixes == SUFFIXES[name]
    with pytest.raises(UserError, match="unknown option"):
        i2ikd.create("reader", name, axes=1)


def test_a_strangers_reader_is_chosen_by_the_suffixes_that_it_states(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = {"mha": {"suffixes": ".mha .mhd"}, "silent": {}}
    monkeypatch.setattr("i2ikd_mri.readers.list_components", lambda kind: stated)
    assert candidates("volume.mha") == ["mha"]
    assert stem("volume.mhd") == "volume"
    assert "silent" not in known_suffixes()


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
def test_real_files_read_like_h5py_reads_them(folder: str, reader: Reader, key: str, axis: int) -> None:
    paths = sorted(Path(str(REAL), folder, "test").glob("*.h5"))
    if not paths:
        pytest.skip(f"I2IKD_TEST_DATA has no file {folder}/test/*.h5")
    with h5py.File(paths[0]) as file:
        expected = np.moveaxis(file[key][()], axis, 0)
    np.testing.assert_array_equal([s["image"] for s in reader(paths[0])], expected)
