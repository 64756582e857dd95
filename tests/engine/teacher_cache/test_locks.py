"""Locks on the entries of the teacher cache, and the cache on a system without such locks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import i2ikd
from i2ikd.engine.teacher_cache import locks
from i2ikd.engine.teacher_cache.codec import RecordLayout
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.key import CacheKey
from i2ikd.sample import Sample, SampleKey

RECORDS = {"map": torch.arange(12.0).reshape(2, 6)}


class TwoSlices(i2ikd.SampleDataset):
    """Two slices of zeros."""

    @property
    def keys(self) -> list[SampleKey]:
        return [SampleKey(volume="volume", index=index) for index in range(2)]

    def sample(self, index: int, seed: int | None) -> Sample:
        return Sample(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), {}, self.keys[index])


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Any]:
    """Three openings of one file."""
    streams = [(tmp_path / "file").open("w") for _ in range(3)]
    yield [stream.fileno() for stream in streams]
    for stream in streams:
        stream.close()


def test_shared_locks_exclude_exclusive_ones_alone(files: list[int]) -> None:
    assert locks.try_shared(files[0]) and locks.try_shared(files[1])
    assert not locks.try_exclusive(files[2])


def test_an_exclusive_lock_excludes_all_others(files: list[int]) -> None:
    assert locks.try_exclusive(files[0])
    assert not locks.try_exclusive(files[1]) and not locks.try_shared(files[2])


def test_without_shared_locks_the_cache_writes_one_line_and_leaves_entries_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_cache() -> DiskCache:
        return DiskCache(tmp_path, 1, CacheKey(TwoSlices(), {}))

    cache, layout = open_cache(), RecordLayout.of(RECORDS)
    writer = cache.writer("first", layout)
    assert writer is not None
    writer.add(layout.pack(RECORDS, 2))
    assert cache.commit(writer) and cache.read("first", 2**20) is not None
    monkeypatch.setattr(locks, "fcntl", None)
    other = open_cache()
    assert other.read("first", 2**20) is None
    assert other.writer("second", layout) is None and other.writer("third", layout) is None
    assert not other.is_being_written("first")
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing more is written to the teacher cache" in line and "no shared file locks" in line
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "first"}
