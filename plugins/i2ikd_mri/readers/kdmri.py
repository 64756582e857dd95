"""Reader of KD-MRI's HDF5 volumes: fully sampled magnitude and, if stored, undersampled image and k-space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.axes import Side, other_axis
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.opening import names_its_file


class KdMriReader:
    """Reader of ``volfs`` [H, W, slices] (or [H, W], one slice), the fully sampled real magnitude, as ``image``.

    Args:
        acceleration: at least 2: also read the stored data of this acceleration, ``img_volus_<acceleration>x`` as
            ``undersampled`` [H, W] float32 and ``kspace_volus_<acceleration>x`` as ``kspace`` [H, W] complex64. A file
            of new data may then lack ``volfs``, and its slices have no ``image``. ``None``: read ``volfs`` only, from
            which undersampled data are simulated.
        axis: slice axis of every dataset, 0..2; 2 in KD-MRI's files.
    """

    suffixes = SUFFIXES["kdmri-hdf5"]

    def __init__(
        self,
        acceleration: Annotated[int, Field(ge=2)] | None = None,
        axis: Annotated[int, Field(ge=0, le=2)] = 2,
    ) -> None:
        self.acceleration = acceleration
        self.axis = axis

    def __call__(self, path: Path) -> KdMriVolume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, a dataset is missing, or shapes differ.
        """
        return KdMriVolume(Path(path), self.acceleration, self.axis)


@names_its_file
class KdMriVolume:
    """Volume of one KD-MRI file.

    Args:
        path: the file.
        acceleration: see ``KdMriReader``.
        axis: slice axis, 0..2.
    """

    def __init__(self, path: Path, acceleration: int | None = None, axis: int = 2) -> None:
        self.name = without_suffix(path.name, SUFFIXES["kdmri-hdf5"])
        self.file = Hdf5File(path)
        self.path = path
        self._axis = axis
        self._stacks = {"image": Hdf5Stack(self.file, "volfs", axis, kinds="biuf")}
        if acceleration is not None:
            self._stacks["undersampled"] = Hdf5Stack(self.file, f"img_volus_{acceleration}x", axis, kinds="biuf")
            self._stacks["kspace"] = Hdf5Stack(self.file, f"kspace_volus_{acceleration}x", axis, kinds="c")
        self._checked = False

    def __len__(self) -> int:
        self._check_shapes()
        return len(next(iter(self._stacks.values())))

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option of the reader for another order; see ``Reorderable``."""
        return other_axis(self._axis, side)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return ``image`` [H, W] float32, if stored, and, with an acceleration, ``undersampled`` and ``kspace``.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        self._check_shapes()
        return {name: stack[index] for name, stack in self._stacks.items()}

    def _check_shapes(self) -> None:
        if self._checked:
            return
        if len(self._stacks) > 1 and "volfs" not in self.file:
            del self._stacks["image"]
        first = next(iter(self._stacks.values()))
        for stack in self._stacks.values():
            if stack.shape != first.shape:
                raise UserError(f"{stack.where}: expected the shape {first.shape} of {first.key!r}, got {stack.shape}")
        self._checked = True
