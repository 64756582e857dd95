"""Time, memory and open files of a data set of many volumes, and how they grow with the number of volumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.measure import Spread, exponent
from benchmarks.table import Row, number
from benchmarks.turn import resident_mib
from benchmarks.worker import ROOT

SLICES, SIDE = 2, 16
_KEY = "volfs"
STEPS = ("list", "digest", "again", "inventory", "first epoch", "second epoch")
"""Listing; digests of all files, and of unchanged ones; ``i2ikd data``; two epochs of the training split."""
_SPARSE_MIB = (128, 256, 512, 1024)


def write_volumes(folder: Path, count: int) -> None:
    """Write distinct volumes of a few pixels in KD-MRI's layout.

    Args:
        folder: receives the files.
        count: number of volumes.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(count):
        values = random.random((SIDE, SIDE, SLICES), dtype=np.float32) + 0.1
        with h5py.File(folder / f"case-{index:06}.h5", "w") as file:
            file.create_dataset(_KEY, data=values)


def link_volumes(source: Path, folder: Path, count: int) -> None:
    """Put hard links to the first volumes of a folder into another one."""
    folder.mkdir(parents=True)
    for path in sorted(source.iterdir())[:count]:
        os.link(path, folder / path.name)


def measure(folder: Path) -> dict[str, float]:
    """Return seconds, resident memory in MiB, and open files of every step on the volumes of a folder."""
    from i2ikd import create
    from i2ikd.engine.batches import SampleBatches

    found: dict[str, float] = {}
    options = {"name": "folder", "root": str(folder), "reader": "kdmri-hdf5"}

    def clocked(name: str, step: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = step()
        found[name] = time.monotonic() - start
        found[f"{name}, open"] = float(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        return result

    create("task", "mri-recon", dataset={"name": "phantom", "train": 1, "val": 1, "test": 1}).dataset("train")[0]
    found["base"] = resident_mib()
    dataset = create("dataset", "folder", **{key: value for key, value in options.items() if key != "name"})
    clocked("list", dataset.file_summary)
    clocked("digest", lambda: (dataset.identity(), dataset.test_identity()))
    clocked("again", lambda: (dataset.identity(), dataset.test_identity()))
    task = create("task", "mri-recon", dataset=options)
    inventory = clocked("inventory", task.inventory)
    batches = SampleBatches(task.dataset("train"), 4, seed=0)
    clocked("first epoch", lambda: [None for _ in batches.epoch(0)])
    clocked("second epoch", lambda: [None for _ in batches.epoch(1)])
    found["resident"] = resident_mib()
    found["volumes"] = float(sum(split.volumes for split in inventory.splits))
    return found


def _in_a_process(folder: Path) -> dict[str, float]:
    """Return the measurements of a new process whose cache of facts is empty."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "I2IKD_CACHE_DIR": cache}
        command = [sys.executable, "-m", "benchmarks.many_files", str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows(count: int, rounds: int) -> list[Row]:
    """Measure data sets of an eighth, a quarter, half and all of the volumes, and return the rows of the table.

    Args:
        count: volumes of the largest data set, a multiple of 8.
        rounds: measurements of every size, interleaved.
    """
    counts = [count // 8, count // 4, count // 2, count]
    with tempfile.TemporaryDirectory() as root:
        whole = Path(root) / str(count)
        write_volumes(whole, count)
        for few in counts[:-1]:
            link_volumes(whole, Path(root) / str(few), few)
        found: dict[int, list[dict[str, float]]] = {size: [] for size in counts}
        for _ in range(rounds):
            for size in counts:
                found[size].append(_in_a_process(Path(root) / str(size)))
    return [_growth(step, found) for step in STEPS] + [_memory(found), _open(found), _bytes(rounds)]


def _growth(step: str, found: dict[int, list[dict[str, float]]]) -> Row:
    times = [Spread.of([one[step] for one in replies]) for replies in found.values()]
    power = exponent([float(size) for size in found], times)
    detail = ", ".join(f"{size}: {number(1e3 * one.median)} ms" for size, one in zip(found, times))
    return Row("data set of many volumes", f"{step}: power of growth", power, "", 1.1, False, detail)


def _memory(found: dict[int, list[dict[str, float]]]) -> Row:
    """Return the memory that a volume adds, from the largest two data sets."""
    sizes = sorted(found)[-2:]
    kept = [Spread.of([one["resident"] - one["base"] for one in found[size]]).median for size in sizes]
    value = 1024 * (kept[1] - kept[0]) / (sizes[1] - sizes[0])
    detail = ", ".join(
        f"{size}: {Spread.of([one['resident'] - one['base'] for one in replies]).median:.0f} MiB"
        for size, replies in found.items()
    )
    return Row(
        "data set of many volumes", "resident memory of one more volume", Spread.of([value]), "KiB", detail=detail
    )


def _open(found: dict[int, list[dict[str, float]]]) -> Row:
    most = [
        max(value for one in replies for key, value in one.items() if key.endswith("open"))
        for replies in found.values()
    ]
    detail = ", ".join(f"{size}: {value:.0f}" for size, value in zip(found, most))
    return Row("data set of many volumes", "open files, at most", Spread.of([max(most)]), "", 300, False, detail)


def _bytes(rounds: int) -> Row:
    """Return how the time of a digest grows with the bytes of a file, which is sparse; memory does not grow."""
    from i2ikd.file_facts import FileFacts

    times: dict[int, list[float]] = {size: [] for size in _SPARSE_MIB}
    with tempfile.TemporaryDirectory() as folder:
        before = resident_mib()
        for turn in range(rounds):
            for size in _SPARSE_MIB:
                path = Path(folder) / f"{size}-{turn}.h5"
                with path.open("wb") as file:
                    file.truncate(size * 2**20)
                start = time.monotonic()
                FileFacts(Path(folder)).digests([[path]])
                times[size].append(time.monotonic() - start)
        grown = resident_mib() - before
    spreads = [Spread.of(seconds) for seconds in times.values()]
    power = exponent([float(size) for size in times], spreads)
    detail = ", ".join(f"{size} MiB: {number(1e3 * one.median)} ms" for size, one in zip(times, spreads))
    name = "digest of one sparse file: power of its bytes"
    return Row("data set of many volumes", name, power, "", 1.1, False, f"{detail}; resident {grown:+.0f} MiB")


def main(arguments: Sequence[str]) -> None:
    """Print the measurements of one folder as JSON."""
    print(json.dumps(measure(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
