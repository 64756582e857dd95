"""First pass over a compressed NIfTI volume against its decompression alone: ``python -m benchmarks.nifti``."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import nibabel
import numpy as np
from i2ikd_mri.phantom import PhantomDataset
from i2ikd_mri.readers.nifti import NiftiReader
from i2ikd_mri.volumes import PreparedVolume
from rich.console import Console
from rich.table import Table

from benchmarks.machine import processor
from benchmarks.parts import medians

ALONE = "gzip.decompress"
_DRAWN = 6
"""Number of different slices; the volume repeats them, with noise of its own in each."""


def write(path: Path, size: int, slices: int, dtype: str) -> None:
    """Write simulated heads of values 0..1000 with noise of standard deviation 8."""
    (volume,) = PhantomDataset(train=1, slices=_DRAWN, size=(size, size)).volumes("train")
    heads = np.stack([volume[number % _DRAWN]["image"] for number in range(slices)], -1)
    noise = np.random.default_rng(0).normal(0, 8, heads.shape)
    values = (heads / heads.max() * 1000 + noise).clip(0).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def passes(path: Path) -> dict[str, Callable[[], object]]:
    """Return the first passes over a file, by name: each opens the file again and reads every slice."""

    def by_reader() -> None:
        for _ in NiftiReader()(path):
            pass

    def by_dataset() -> None:
        for _ in PreparedVolume(NiftiReader()(path), path.name, skip_empty=True, check_conventions=True):
            pass

    return {
        ALONE: lambda: gzip.decompress(path.read_bytes()),
        "nibabel, whole array": lambda: np.asarray(nibabel.load(path).dataobj),
        "reader nifti, all slices": by_reader,
        "dataset folder, all slices scaled and checked": by_dataset,
    }


@click.command()
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
@click.option("--slices", default=150, show_default=True, help="Number of slices.")
@click.option("--rounds", default=15, show_default=True, help="Interleaved rounds.")
def main(size: int, slices: int, rounds: int) -> None:
    """Time the first pass over a .nii.gz file; medians of interleaved rounds, and ratios to decompression."""
    table = Table("values", "pass", "ms", "ratio", title=f"{size} x {size} x {slices} .nii.gz, {processor()}")
    with tempfile.TemporaryDirectory() as folder:
        for dtype in ("int16", "float32"):
            path = Path(folder) / f"{dtype}.nii.gz"
            write(path, size, slices, dtype)
            taken = medians(passes(path), rounds)
            for name, milliseconds in taken.items():
                table.add_row(dtype, name, f"{milliseconds:.0f}", f"{milliseconds / taken[ALONE]:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
