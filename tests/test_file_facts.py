"""Facts of data files: by content, kept while size and times of a file are unchanged; empty slices are left out."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.image import NumpyVolume
from i2ikd_mri.slices import Slices
from i2ikd_mri.volumes import SliceChoice

from i2ikd import BoundedCache, UserError
from i2ikd.file_facts import FileFacts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("I2IKD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Move the clock on, so that the file is no longer recent."""
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 10)
    return path


class TestFacts:
    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "a.bin").write_bytes(b"content")
        return aged(tmp_path / "a.bin", monkeypatch)

    def test_a_digest_is_the_sha256_of_the_bytes(self, file: Path) -> None:
        expected = hashlib.sha256(b"content").hexdigest()
        assert FileFacts(file.parent).digests([[file]])[0] == expected

    def test_a_known_file_is_not_read_again(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        digest = FileFacts(file.parent).digests([[file]])[0]  # the object is deleted here, and writes its cache

        def refuse(*_: object) -> None:
            raise AssertionError("the file is read")

        monkeypatch.setattr("i2ikd.file_facts._of_bytes", refuse)
        assert FileFacts(file.parent).digests([[file]])[0] == digest

    def test_a_change_of_equal_size_and_equal_modification_time_is_noticed(self, file: Path) -> None:
        before, times = FileFacts(file.parent).digests([[file]])[0], file.stat()
        file.write_bytes(b"changed")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert file.stat().st_mtime_ns == times.st_mtime_ns and file.stat().st_size == times.st_size
        assert FileFacts(file.parent).digests([[file]])[0] == hashlib.sha256(b"changed").hexdigest() != before

    def test_facts_of_recent_files_are_not_kept(self, tmp_path: Path, cache: Path) -> None:
        (tmp_path / "new.bin").write_bytes(b"content")
        facts = FileFacts(tmp_path)
        facts.put("key", [tmp_path / "new.bin"], 7)
        assert facts.get("key", [tmp_path / "new.bin"]) is None

    @pytest.mark.parametrize("content", ["", "[]", '{"format": 0, "entries": {}}', '{"format"'])
    def test_a_damaged_cache_has_no_effect(self, file: Path, cache: Path, content: str) -> None:
        digest = FileFacts(file.parent).digests([[file]])[0]
        (kept,) = cache.glob("*.json")
        assert json.loads(kept.read_text())["entries"]
        kept.write_text(content)
        assert FileFacts(file.parent).digests([[file]])[0] == digest

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"gone\.bin: the file cannot be read"):
            FileFacts(tmp_path).digests([[tmp_path / "gone.bin"]])[0]


class TestEmptySlices:
    STACK = np.random.default_rng(3).random((6, 5, 4), np.float32) + 0.5

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        stack = self.STACK.copy()
        stack[[0, 3]] = 0
        (tmp_path / "data" / "train").mkdir(parents=True)
        np.save(tmp_path / "data" / "train" / "a.npy", stack)
        return aged(tmp_path / "data", monkeypatch)

    def test_they_are_left_out_and_counted_and_numbers_are_those_of_the_file(self, root: Path) -> None:
        volumes = FolderDataset(root, normalise="none").volumes("train")
        assert (len(volumes[0]), volumes[0].left_out, list(volumes[0].numbers)) == (4, 2, [1, 2, 4, 5])
        np.testing.assert_array_equal([fields["image"] for fields in volumes[0]], self.STACK[[1, 2, 4, 5]])
        slices = Slices(volumes, "real", False, BoundedCache(1, policy="refuse"), "train")
        assert [key.index for key in slices.keys] == [1, 2, 4, 5]
        assert slices[2].where.endswith("slice 4")

    def test_selection_comes_before(self, root: Path) -> None:
        (volume,) = FolderDataset(root, slices=SliceChoice(limit=4)).volumes("train")
        assert (list(volume.numbers), volume.left_out) == ([1, 2, 4], 1)

    def test_refuse_reads_no_volume_for_its_length(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(NumpyVolume, "__getitem__", lambda *_: pytest.fail("a slice is read"))
        (volume,) = FolderDataset(root, empty="refuse").volumes("train")
        assert (len(volume), volume.left_out) == (6, 0)

    def test_a_known_volume_is_read_for_its_slices_alone(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = FolderDataset(root).volumes("train")[0]
        expected = first[1]["image"]
        del first
        reads: list[int] = []
        read = NumpyVolume.__getitem__

        def counted(volume: NumpyVolume, index: int) -> object:
            reads.append(index)
            return read(volume, index)

        monkeypatch.setattr(NumpyVolume, "__getitem__", counted)
        np.testing.assert_array_equal(FolderDataset(root).volumes("train")[0][1]["image"], expected)
        assert reads == [2]
