"""Reader of HDF5 files with complex slices: coil-combined images with their phase and noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.axes import Side, other_axis
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.opening import names_its_file


class ComplexHdf5Reader:
    """Reader of a complex dataset [slices, H, W] (or [H, W], one slice) as ``image`` [H, W] complex64.

    Args:
        key: name of the HDF5 dataset.
        axis: slice axis, 0..2.
    """

    suffixes = SUFFIXES["complex-hdf5"]

    def __init__(self, key: str = "image", axis: Annotated[int, Field(ge=0, le=2)] = 0) -> None:
        self.key = key
        self.axis = axis

    def __call__(self, path: Path) -> ComplexHdf5Volume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, or the dataset is missing, not complex or of
                another shape.
        """
        return ComplexHdf5Volume(Path(path), self.key, self.axis)


@names_its_file
class ComplexHdf5Volume:
    """Volume of one HDF5 file of complex slices.

    Args:
        path: the file.
        key: name of the HDF5 dataset.
        axis: slice axis, 0..2.
    """

    def __init__(self, path: Path, key: str, axis: int = 0) -> None:
        self.name = without_suffix(path.name, SUFFIXES["complex-hdf5"])
        self.file = Hdf5File(path)
        self.path = path
        self._axis = axis
        self._stack = Hdf5Stack(self.file, key, axis, kinds="c")

    def __len__(self) -> int:
        return len(self._stack)

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option of the reader for another order; see ``Reorderable``."""
        return other_axis(self._axis, side)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] complex64.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        return {"image": self._stack[index]}
