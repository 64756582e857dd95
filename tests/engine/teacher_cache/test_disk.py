"""The teacher cache on disk: what is whole is found again, what is not is never used, and no disk ends a training."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import pickle
import shutil
import threading
import zlib
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import i2ikd
from i2ikd.config import digest
from i2ikd.engine.teacher_cache import disk
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.key import CacheKey
from i2ikd.sample import Sample, SampleKey

CPU = torch.device("cpu")
COUNT = 6
KIB = 2**10


class Slices(i2ikd.SampleDataset):
    """Six slices of noise."""

    @property
    def keys(self) -> Sequence[SampleKey]:
        return [SampleKey(volume="volume", index=index) for index in range(COUNT)]

    def sample(self, index: int, seed: int | None) -> Sample:
        image = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(index))
        return Sample(image, image, {}, self.keys[index])


def files_in(folder: Path, limit_mib: int = 1) -> DiskCache:
    """What another process would open on the same folder."""
    return DiskCache(folder, limit_mib, CacheKey(Slices(), {}))


def knowledge(seed: int, kib: int = 300) -> dict[str, torch.Tensor]:
    """About six slices, ``kib`` KiB together."""
    generator = torch.Generator().manual_seed(seed)
    return {"map": torch.rand(COUNT, kib * KIB // COUNT // 4, generator=generator)}


def store(files: DiskCache, address: str, seed: int, kib: int = 300) -> bool:
    written = knowledge(seed, kib)
    form = RecordLayout.of(written)
    writer = files.writer(address, form)
    if writer is None:
        return False
    for start in range(0, COUNT, 2):
        writer.add(form.pack({name: tensor[start : start + 2] for name, tensor in written.items()}, 2))
    return files.commit(writer)


def agrees(kept: CachedRecords | None, seed: int, kib: int = 300) -> bool:
    assert kept is not None
    index = torch.tensor([5, 0, 3])
    return torch.equal(kept.take(index, CPU)["map"], knowledge(seed, kib)["map"][index])


def used_at(folder: Path, address: str, second: int) -> None:
    os.utime(folder / address / "about.json", (second, second))


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class TestEntries:
    @pytest.mark.parametrize("memory", [0, 2**30], ids=["mapped", "in memory"])
    def test_another_process_reads_what_was_written(self, tmp_path: Path, memory: int) -> None:
        assert store(files_in(tmp_path), "a", seed=1)
        kept = files_in(tmp_path).read("a", memory)
        assert agrees(kept, seed=1)
        assert kept is not None and (kept.hold is not None) == (memory == 0)
        assert isinstance(np.load(tmp_path / "a" / "rows.npy", allow_pickle=False), np.ndarray)

    def test_what_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        assert files_in(tmp_path / "none").read("a", 0) is None
        assert not (tmp_path / "none").exists()

    def test_an_entry_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        files, form = files_in(tmp_path), RecordLayout.of(knowledge(1))
        writer = files.writer("a", form)
        assert writer is not None
        writer.add(form.pack(knowledge(1), COUNT - 1))
        assert files.read("a", 0) is None
        assert not files.commit(writer), "a slice is missing"
        assert files.read("a", 0) is None
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]

    def test_one_process_writes_an_entry(self, tmp_path: Path) -> None:
        first, second, form = files_in(tmp_path), files_in(tmp_path), RecordLayout.of(knowledge(1))
        assert not second.is_being_written("a")
        writer = first.writer("a", form)
        assert writer is not None
        assert second.writer("a", form) is None and second.is_being_written("a")
        writer.close()
        assert not second.is_being_written("a")
        assert store(second, "a", seed=2)
        assert first.is_being_written("a") and first.writer("a", form) is None
        assert agrees(first.read("a", 0), seed=2)

    def test_what_a_killed_process_left_is_removed(self, tmp_path: Path) -> None:
        left = tmp_path / "a.part"
        left.mkdir()
        (left / "lock").write_text(str(2**40))
        (left / "rows.npy").write_bytes(bytes(100))
        assert not files_in(tmp_path).is_being_written("a")
        assert store(files_in(tmp_path), "a", seed=1)
        assert not left.exists() and agrees(files_in(tmp_path).read("a", 0), seed=1)


class Trap:
    """Does something when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


def shorten(entry: Path) -> None:
    os.truncate(entry / "rows.npy", (entry / "rows.npy").stat().st_size - 1)


def flip(entry: Path) -> None:
    content = bytearray((entry / "rows.npy").read_bytes())
    content[-1000] ^= 1
    (entry / "rows.npy").write_bytes(content)


def rewrite(entry: Path, array: Any) -> None:
    """Put another file in, with a checksum that is right."""
    np.save(entry / "rows.npy", array, allow_pickle=True)
    describe(entry, crc32=zlib.crc32((entry / "rows.npy").read_bytes()))


def describe(entry: Path, **changes: Any) -> None:
    about = json.loads((entry / "about.json").read_text())
    about = {name: value for name, value in {**about, **changes}.items() if name != "checksum"}
    (entry / "about.json").write_text(json.dumps({**about, "checksum": digest(about)}))


def reshape(entry: Path) -> None:
    (tensor,) = json.loads((entry / "about.json").read_text())["tensors"]
    describe(entry, tensors=[{**tensor, "shape": [tensor["shape"][0] + 1]}])


def zero(entry: Path) -> None:
    """Set a row to zero, as a file system may do with blocks that were never written."""
    rows = np.load(entry / "rows.npy", mmap_mode="r+")
    rows[3] = 0
    rows.flush()


DAMAGE = {
    "cut off": shorten,
    "a flipped bit": flip,
    "empty": lambda entry: (entry / "rows.npy").write_bytes(b""),
    "no rows": lambda entry: (entry / "rows.npy").unlink(),
    "no description": lambda entry: (entry / "about.json").unlink(),
    "a description cut off": lambda entry: os.truncate(entry / "about.json", 40),
    "another number of slices": lambda entry: describe(entry, samples=COUNT - 1),
    "another format": lambda entry: describe(entry, format=1),
    "rows set to zero": zero,
    "the description of another entry": lambda entry: shutil.copy(entry.with_name("b") / "about.json", entry),
    "another entry in its place": lambda entry: shutil.copytree(entry.with_name("b"), entry, dirs_exist_ok=True),
    "another type of a tensor": lambda entry: (entry / "about.json").write_text(
        (entry / "about.json").read_text().replace("float32", "int32")
    ),
    "another shape of a tensor": reshape,
    "strides that reach elsewhere": lambda entry: describe(
        entry, tensors=[{"name": "map", "dtype": "torch.uint8", "shape": [2, 25600], "strides": [25601, 1]}]
    ),
    "a type that is none": lambda entry: describe(
        entry, tensors=[{"name": "map", "dtype": "torch.load", "shape": [51200], "strides": [1]}]
    ),
    "fewer rows": lambda entry: rewrite(entry, np.zeros((COUNT - 1, 51200), np.uint8)),
    "another type of rows": lambda entry: rewrite(entry, np.zeros((COUNT, 51200), np.int8)),
    "a pickle": lambda entry: rewrite(entry, np.array([Trap()], dtype=object)),
}


class TestDamage:
    @pytest.mark.parametrize("memory", [0, 2**30], ids=["mapped", "in memory"])
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_damaged_entry_is_removed_with_a_message(
        self, damage: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "cache"
        files = files_in(folder)
        assert store(files, "a", seed=1) and store(files, "b", seed=2)
        DAMAGE[damage](folder / "a")
        assert files.read("a", memory) is None
        (line,) = capfd.readouterr().err.splitlines()
        assert f"{folder / 'a'}, of the teacher cache, is damaged and computed again" in line
        assert {path.name for path in folder.iterdir()} == {".lock", "b"}
        assert not (tmp_path / "sprung").exists()
        assert store(files, "a", seed=3)
        assert agrees(files.read("a", memory), seed=3) and agrees(files.read("b", memory), seed=2)

    def test_the_trap_would_have_worked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        pickle.loads(pickle.dumps(Trap()))
        assert (tmp_path / "sprung").exists()


class TestLimit:
    def test_what_was_not_used_for_longest_makes_room(self, tmp_path: Path) -> None:
        files = files_in(tmp_path)
        for second, address in enumerate("abc"):
            assert store(files, address, seed=second)
            used_at(tmp_path, address, 1000 + second)
        assert agrees(files_in(tmp_path).read("a", 2**30), seed=0), "now it is the last one used"
        assert store(files, "d", seed=3)
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "a", "c", "d"}
        assert size_of(tmp_path) <= 2**20

    def test_what_can_never_fit_removes_nothing(self, tmp_path: Path) -> None:
        files = files_in(tmp_path)
        assert store(files, "a", seed=1)
        assert not store(files, "b", seed=2, kib=1024), "with its description it has more than 1 MiB"
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "a"}

    def test_what_is_being_written_counts(self, tmp_path: Path) -> None:
        files = files_in(tmp_path)
        form = RecordLayout.of(knowledge(1, kib=800))
        with files.writer("a", form) or pytest.fail("there is room"):
            assert files.writer("b", form) is None
        with files.writer("b", form) or pytest.fail("there is room again"):
            pass

    def test_what_a_process_has_mapped_stays(self, tmp_path: Path) -> None:
        files = files_in(tmp_path)
        assert store(files, "a", seed=1) and store(files, "b", seed=2)
        used_at(tmp_path, "a", 1000)
        used_at(tmp_path, "b", 2000)
        mapped = files.read("a", 0)
        used_at(tmp_path, "a", 1000)
        assert store(files_in(tmp_path), "c", seed=3, kib=600), "b makes room, though a is older"
        assert not store(files_in(tmp_path), "d", seed=4, kib=800), "c alone would not do"
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "a", "c"}
        assert agrees(mapped, seed=1)
        del mapped
        gc.collect()
        assert store(files_in(tmp_path), "d", seed=4, kib=800)
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "d"}

    def test_what_is_removed_all_the_same_can_still_be_read(self, tmp_path: Path) -> None:
        files = files_in(tmp_path)
        assert store(files, "a", seed=1)
        mapped = files.read("a", 0)
        shutil.rmtree(tmp_path)
        assert agrees(mapped, seed=1)

    def test_many_at_once_keep_the_limit_and_lose_nothing(self, tmp_path: Path) -> None:
        """Locks hold between open files, so threads with files of their own are to each other as processes are."""
        largest, wrong = 0, []

        def work(number: int) -> None:
            files = files_in(tmp_path)
            for turn in range(12):
                which = (number * 5 + turn * 3) % 7
                kept = files.read(f"{which}", memory=0 if turn % 2 else 2**30)
                if kept is None:
                    store(files, f"{which}", seed=which, kib=200)
                elif not agrees(kept, which, kib=200):
                    wrong.append(which)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(FileNotFoundError):  # removed while its size was read
                largest = max(largest, size_of(tmp_path))
        assert not wrong and 0 < largest <= 2**20
        names = {path.name for path in tmp_path.iterdir()} - {".lock"}
        assert names <= set("0123456") and len(names) >= 3
        assert all(agrees(files_in(tmp_path).read(name, 0), int(name), kib=200) for name in names)


Usage = namedtuple("Usage", "total used free")


class TestFullDisk:
    def test_nothing_is_written_where_little_is_free(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
    ) -> None:
        files = files_in(tmp_path)
        assert store(files, "a", seed=1)
        free = 2**30 + 100 * KIB
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage(2**40, 2**40 - free, free))
        assert store(files, "b", seed=2), "a makes room: the cache does not grow"
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "b"}
        assert capfd.readouterr().err == ""
        assert not store(files, "c", seed=3, kib=700)
        assert not store(files, "d", seed=3)
        (line,) = capfd.readouterr().err.splitlines()
        assert (
            f"nothing more is written to the teacher cache {tmp_path}" in line
            and "1024 MiB are reserved for other files" in line
        )
        assert agrees(files.read("b", 0), seed=2)

    def test_a_folder_that_cannot_be_made_is_done_without(self, tmp_path: Path, capfd: Any) -> None:
        (tmp_path / "cache").write_text("a file")
        files = files_in(tmp_path / "cache")
        assert files.read("a", 0) is None and not store(files, "a", seed=1) and not store(files, "b", seed=1)
        (line,) = capfd.readouterr().err.splitlines()
        assert os.strerror(errno.EEXIST) in line
