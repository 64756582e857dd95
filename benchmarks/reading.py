"""Measure the first epoch from HDF5 files: the engine's batches, a file reopened for every slice, raw bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from benchmarks.samples import images
from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd import Task, create
from i2ikd.engine.batches import SampleBatches

SLICES = 20
_KEY = "volfs"


def write_files(folder: Path, volumes: int, size: int, layout: str) -> None:
    """Write volumes in KD-MRI's layout, ``volfs`` [H, W, slices]: ``contiguous``, or in ``chunks`` of one slice."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    for number in range(volumes):
        volume = np.moveaxis(images(SLICES, size, seed=number).numpy(), 0, -1)
        with h5py.File(folder / "train" / f"volume-{number}.h5", "w") as file:
            chunks = (size, size, 1) if layout == "chunks" else None
            file.create_dataset(_KEY, data=np.ascontiguousarray(volume), chunks=chunks)


def _files(setting: Setting) -> list[Path]:
    return sorted(Path(setting.folder).glob("train/*.h5"))


def _bytes(setting: Setting) -> int:
    return len(_files(setting)) * SLICES * setting.size**2 * 4


def run(setting: Setting, turn: Turn) -> None:
    """Measure the engine; one unit is the first epoch of a new task: open files, read, undersample and batch slices."""
    turn.note(bytes=_bytes(setting))
    turn.begin()
    while True:
        dataset = {"name": "folder", "root": setting.folder, "reader": "kdmri-hdf5"}
        task: Task = create("task", "mri-recon", dataset=dataset)
        for _ in SampleBatches(task.dataset("train"), setting.batch, seed=0).epoch(0):
            pass
        turn.done()


def run_raw(setting: Setting, turn: Turn) -> None:
    """Measure raw reading; one unit reads every file as a whole."""
    turn.note(bytes=_bytes(setting))
    turn.begin()
    while True:
        for path in _files(setting):
            with h5py.File(path) as file:
                file[_KEY][()]
        turn.done()


def run_reopened(setting: Setting, turn: Turn) -> None:
    """Measure plain reading; one unit reads all slices, opens the file for each, and transforms in complex128."""
    turn.note(bytes=_bytes(setting))
    turn.begin()
    while True:
        for _ in _reopened(setting):
            pass
        turn.done()


def _reopened(setting: Setting) -> Iterator[torch.Tensor]:
    mask = create("mask", "variable-density")((setting.size, setting.size)).double()
    for path in _files(setting):
        for index in range(SLICES):
            with h5py.File(path) as file:
                image = torch.from_numpy(np.asarray(file[_KEY][:, :, index], np.float64))
            yield torch.fft.ifft2(torch.fft.fft2(image, norm="ortho") * mask, norm="ortho").real.float()
