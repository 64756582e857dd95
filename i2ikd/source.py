"""Interfaces of data sources: volume, reader, and volumes by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Volume(Protocol):
    """Stack of slices of one subject, read slice by slice.

    Attributes:
        name: unique name of the volume in its dataset.
    """

    name: str

    def __len__(self) -> int:
        """Return the number of slices."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Read one slice.

        Args:
            index: from 0 to ``len(self) - 1``.

        Returns:
            Arrays by field name: ``image`` [H, W] and further fields of the file.
        """
        ...


class Reader(Protocol):
    """Function that opens a file as a volume."""

    def __call__(self, path: Path) -> Volume:
        """Open a file.

        Args:
            path: the file.

        Raises:
            UserError: the file cannot be read; the message contains its path.
        """
        ...


class VolumeSource(Protocol):
    """Volumes of a dataset, divided into disjoint splits."""

    def volumes(self, split: str) -> Sequence[Volume]:
        """Return the volumes of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        ...

    def identity(self) -> dict[str, object]:
        """Return the JSON values that identify the data, without paths; part of the digest of every run."""
        ...
