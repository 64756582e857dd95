"""Interfaces of data sources: volume, reader, and volumes by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Volume(Protocol):
    """Stack of slices of one subject, read slice by slice.

    A volume may have further attributes: ``subject: str``, the subject it belongs to; without it, its name is its
    subject. ``numbers: Sequence[int]``, the number of each slice in the file, for messages and records; without it, the
    index.

    Attributes:
        name: name of the volume, unique among the volumes of its subject.
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
    """Volumes of a dataset, divided into splits; all volumes of a subject are in one split.

    A source may have a further method ``test_identity()``: the JSON values that the test volumes alone depend on, which
    ``identity`` then lacks. Changed test data is scored again without training again.
    """

    def volumes(self, split: str) -> Sequence[Volume]:
        """Return the volumes of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        ...

    def identity(self) -> dict[str, object]:
        """Return the JSON values that identify the data, without paths; part of the digest of every run."""
        ...
