"""Where slices come from: the interfaces of a volume, a reader and a dataset of volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Volume(Protocol):
    """One stack of slices of a subject, read slice by slice.

    A volume may have a further attribute, ``subject: str``: whom it is of. Without it, its name is its subject.
    """

    name: str

    def __len__(self) -> int:
        """Number of slices."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Fields of one slice by name: ``image`` [H, W], and what else the file stores."""
        ...


class Reader(Protocol):
    """Opens one file as a volume. Raises ``UserError`` naming the file when it cannot."""

    def __call__(self, path: Path) -> Volume:
        """Open ``path``."""
        ...


class VolumeSource(Protocol):
    """Volumes by split; a subject, with all of its volumes, is in one split only."""

    def volumes(self, split: str) -> Sequence[Volume]:
        """Volumes of ``train``, ``val`` or ``test``."""
        ...

    def identity(self) -> dict[str, object]:
        """What tells this data from other data, without paths: it goes into the digest of every run."""
        ...
