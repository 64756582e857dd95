"""HDF5 files are opened once in a process, and read slice by slice or chunk by chunk."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.kdmri import KdMriReader, KdMriVolume

from i2ikd import BoundedCache

RNG = np.random.default_rng(3)
STACK = RNG.random((6, 9, 4), dtype=np.float32)  # H, W, slices: no two alike


@pytest.fixture
def kdmri(tmp_path: Path, write_hdf5: Callable[..., Path]) -> Path:
    kspace = np.fft.fft2(STACK, axes=(0, 1)).astype(np.complex64)
    return write_hdf5(tmp_path / "v1.h5", volfs=STACK, img_volus_4x=0.5 * STACK, kspace_volus_4x=kspace)


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the opened HDF5 files, in order."""
    calls: list[str] = []
    real = h5py.File

    def counting(path: Path, mode: str) -> h5py.File:
        calls.append(Path(path).name)
        return real(path, mode)

    monkeypatch.setattr("i2ikd_mri.readers.hdf5.h5py.File", counting)
    return calls


class TestOpenFiles:
    def test_a_file_is_opened_once_and_only_when_used(self, kdmri: Path, opens: list[str]) -> None:
        volume = KdMriReader(acceleration=4)(kdmri)
        assert opens == []
        for _ in range(3):
            assert len([s["kspace"] for s in volume]) == 4
        assert opens == ["v1.h5"]
        assert volume.file.opens == 1

    def test_pickling_drops_the_handle(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        volume[0]
        copy = pickle.loads(pickle.dumps(volume))
        assert copy.file.opens == 0
        np.testing.assert_array_equal(copy[1]["image"], volume[1]["image"])
        assert (copy.file.opens, volume.file.opens) == (1, 1)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_worker_opens_its_own_handle(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        volume[0]
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        worker = context.Process(target=_read_all, args=(volume, queue))
        worker.start()
        total, opened = queue.get(timeout=30)
        worker.join()
        assert total == pytest.approx(float(STACK.sum()), rel=1e-5)
        assert opened == 1
        np.testing.assert_array_equal(volume[3]["image"], STACK[:, :, 3])
        assert volume.file.opens == 1

    def test_open_files_stay_within_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: list[str], write_hdf5: Callable[..., Path]
    ) -> None:
        cache = BoundedCache[Any](math.inf, policy="evict", max_items=2, on_removal=methodcaller("close"))
        monkeypatch.setattr("i2ikd_mri.readers.hdf5.OPEN_FILES", cache)
        volumes = [KdMriReader()(write_hdf5(tmp_path / f"{i}.h5", volfs=STACK + i)) for i in range(3)]
        opens.clear()
        for volume in volumes:
            volume[0]
        assert [v.file.is_open for v in volumes] == [False, True, True]
        volumes[1].file.opened()
        volumes[0].file.opened()
        assert opens == ["0.h5", "1.h5", "2.h5", "0.h5"]
        assert [v.file.is_open for v in volumes] == [True, True, False]

    def test_a_file_is_closed_when_its_volume_is_deleted(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        handle = volume.file.opened()
        assert handle.id.valid
        del volume
        gc.collect()
        assert not handle.id.valid


def _read_all(volume: KdMriVolume, queue: multiprocessing.Queue) -> None:
    total = sum(float(s["image"].sum()) for s in volume)
    queue.put((total, volume.file.opens))


class TestChunks:
    @pytest.mark.parametrize("chunks", [None, (6, 9, 1), (3, 9, 3), (6, 9, 4)])
    def test_every_layout_returns_the_same_slices(self, tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
        path = tmp_path / "v.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("volfs", data=STACK, chunks=chunks)
        stack = Hdf5Stack(Hdf5File(path), "volfs", 2)
        for index in (3, 0, 2, 1, 1):
            np.testing.assert_array_equal(stack[index], STACK[:, :, index])

    @pytest.mark.parametrize(("chunk", "reads"), [(1, 6), (4, 2)])
    def test_a_chunk_of_several_slices_is_read_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, reads: int
    ) -> None:
        path = tmp_path / "v.h5"
        values = RNG.random((6, 5, 7))
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=values, chunks=(chunk, 5, 7), compression="gzip")
        stack = Hdf5Stack(Hdf5File(path), "image", 0)
        calls = []
        real = Hdf5Stack._read
        monkeypatch.setattr(Hdf5Stack, "_read", lambda self, s: calls.append(s) or real(self, s))
        np.testing.assert_allclose([stack[i] for i in range(6)], values, rtol=1e-6)
        assert len(calls) == reads

    def test_interleaved_slices_of_a_contiguous_dataset_are_read_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with h5py.File(tmp_path / "v.h5", "w") as file:
            file.create_dataset("volfs", data=STACK)
        stack = Hdf5Stack(Hdf5File(tmp_path / "v.h5"), "volfs", 2)
        calls = []
        real = Hdf5Stack._read
        monkeypatch.setattr(Hdf5Stack, "_read", lambda self, s: calls.append(s) or real(self, s))
        for index in (3, 0, 2, 1, 1):
            np.testing.assert_array_equal(stack[index], STACK[:, :, index])
        assert len(calls) == 1
        limit_mib = 4 * 2 * STACK[:, :, 0].nbytes / 2**20
        monkeypatch.setattr("i2ikd_mri.readers.hdf5.DECODED", BoundedCache[Any](limit_mib, policy="evict"))
        calls.clear()
        small = Hdf5Stack(Hdf5File(tmp_path / "v.h5"), "volfs", 2)
        np.testing.assert_array_equal([small[i] for i in range(len(small))], np.moveaxis(STACK, 2, 0))
        assert len(calls) == -(-len(small) // 2), "two slices at a time"
