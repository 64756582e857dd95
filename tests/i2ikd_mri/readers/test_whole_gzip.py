"""Compressed files are read to their end: what is missing or changed after the last voxel is noticed."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from i2ikd_mri.readers.nifti import NiftiReader
from i2ikd_mri.readers.whole_gzip import decompressed

from i2ikd import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 900, (40, 50, 20)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


def test_an_intact_file_is_read(file: Path) -> None:
    stored = np.asarray(nibabel.load(file).dataobj)
    np.testing.assert_array_equal(NiftiReader()(file)[2]["image"], stored[..., 2])


@pytest.mark.parametrize("missing", [1, 8, 100])
def test_a_truncated_file_is_refused(missing: int, file: Path) -> None:
    os.truncate(file, file.stat().st_size - missing)
    with pytest.raises(UserError, match=r"a\.nii\.gz.*damaged or truncated"):
        NiftiReader()(file)[0]


def test_a_wrong_checksum_and_a_wrong_length_are_refused(file: Path) -> None:
    whole = file.read_bytes()
    for position in (-8, -4):
        changed = bytearray(whole)
        changed[position] ^= 1
        file.write_bytes(bytes(changed))
        with pytest.raises(UserError, match=r"a\.nii\.gz: the file is damaged or truncated"):
            decompressed(file, 2**20)


def test_every_member_is_decompressed_and_padding_accepted(tmp_path: Path) -> None:
    (tmp_path / "two.gz").write_bytes(gzip.compress(b"a" * 10) + gzip.compress(b"b" * 10) + bytes(70_000))
    assert decompressed(tmp_path / "two.gz", 20) == b"a" * 10 + b"b" * 10
