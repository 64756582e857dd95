"""HDF5 files of complex slices: coil-combined images with their phase and noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from i2ikd_mri.readers import SUFFIXES, stem
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack


class ComplexHdf5Reader:
    """Reads a complex dataset [slices, H, W] (or [H, W], one slice) as ``image`` [H, W] complex64.

    Args:
        key: the dataset's name.
    """

    suffixes = SUFFIXES["complex-hdf5"]

    def __init__(self, key: str = "image") -> None:
        self.key = key

    def __call__(self, path: Path) -> ComplexHdf5Volume:
        """Return the volume; the file is opened on first use.

        Raises (then):
            UserError: the file is no HDF5 file or truncated, the dataset is missing, not complex or misshapen.
        """
        return ComplexHdf5Volume(Path(path), self.key)


class ComplexHdf5Volume:
    """One file of complex slices as a volume."""

    def __init__(self, path: Path, key: str) -> None:
        self.name = stem(path.name)
        self.file = Hdf5File(path)
        self._stack = Hdf5Stack(self.file, key, 0, kinds="c")

    def __len__(self) -> int:
        return len(self._stack)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] complex64."""
        return {"image": self._stack[index]}
