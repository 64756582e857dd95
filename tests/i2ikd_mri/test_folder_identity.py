"""FolderDataset: the identity of the data is that of its content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.volumes import SliceChoice

STACK = np.random.default_rng(5).random((6, 9, 5), dtype=np.float32) * 7


def write(path: Path, values: np.ndarray = STACK) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["volfs"] = values
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/s10", "train/s2", "train/s1", "val/s3", "test/s4", "test/s5"):
        write(tmp_path / f"{name}.h5")
    return tmp_path


class TestIdentity:
    def test_it_is_json_without_paths_and_depends_on_the_data(self, root: Path, tmp_path: Path) -> None:
        first = FolderDataset(root, size=(4, 5), reader="kdmri-hdf5").identity()
        assert json.loads(json.dumps(first)) == first
        assert str(tmp_path) not in json.dumps(first)
        remote = tmp_path / "copy"
        remote.mkdir()
        for split in ("train", "val", "test"):
            shutil.copytree(root / split, remote / split)
        assert FolderDataset(remote, size=(4, 5), reader="kdmri-hdf5").identity() == first
        write(remote / "val" / "s9.h5")
        assert FolderDataset(remote, size=(4, 5), reader="kdmri-hdf5").identity() != first

    def test_it_depends_on_the_content_of_training_files_and_not_of_test_files(self, root: Path) -> None:
        before = FolderDataset(root)
        identity, of_test = before.identity(), before.test_identity()
        write(root / "test" / "s4.h5", STACK[::-1])
        assert FolderDataset(root).identity() == identity
        assert FolderDataset(root).test_identity() != of_test
        for split in ("train", "val"):
            path = next((root / split).glob("*.h5"))
            kept = path.read_bytes()
            write(path, STACK[::-1])
            assert path.stat().st_size == len(kept)
            assert FolderDataset(root).identity() != identity
            path.write_bytes(kept)
            assert FolderDataset(root).identity() == identity

    def test_it_depends_on_the_values_beside_a_header_file(self, tmp_path: Path) -> None:
        for number, split in enumerate(("train", "val", "test")):
            (tmp_path / split).mkdir()
            nibabel.save(nibabel.Nifti1Pair(STACK, np.eye(4)), tmp_path / split / f"s{number}.hdr")
        before = FolderDataset(tmp_path)
        values = tmp_path / "train" / "s0.img"
        identity, changed = before.identity(), bytearray(values.read_bytes())
        changed[-1] ^= 1
        values.write_bytes(changed)
        assert FolderDataset(tmp_path).identity() != identity
        assert before.file_summary().passed_over == []

    def test_a_limit_of_test_volumes_is_part_of_the_test_identity_alone(self, root: Path) -> None:
        full, limited = FolderDataset(root), FolderDataset(root, volumes={"test": 1})
        assert full.identity() == limited.identity()
        assert full.test_identity() != limited.test_identity()

    def test_every_option_that_changes_samples_changes_it(self, root: Path) -> None:
        options: list[dict[str, Any]] = [
            {},
            {"size": (4, 5)},
            {"normalise": "none"},
            {"reader": {"name": "kdmri-hdf5", "acceleration": 4}},
            {"slices": SliceChoice(step=2)},
            {"volumes": {"train": 1}},
            {"include": "s[1-5].h5"},
            {"empty": "refuse"},
            {"splits": {"val": ["test"], "test": ["val"]}},
        ]
        calls = [json.dumps(FolderDataset(root, **o).identity(), sort_keys=True) for o in options]
        assert len(set(calls)) == len(options)

    def test_it_depends_on_the_content_of_each_slice_file(self, tmp_path: Path) -> None:
        (tmp_path / "train" / "anna").mkdir(parents=True)
        (tmp_path / "train" / "anna" / "1.png").write_bytes(b"12")
        before = FolderDataset(tmp_path).identity()
        (tmp_path / "train" / "anna" / "1.png").write_bytes(b"13")
        assert FolderDataset(tmp_path).identity() != before
