"""A pair of an input and a target: files, or items of an HDF5 file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from i2ikd import PassedOver
from i2ikd_pairs.formats.arrays import read_hdf5
from i2ikd_pairs.formats.files import read_file
from i2ikd_pairs.formats.stack import Stack


@dataclass(frozen=True)
class Part:
    """Place of an input or a target.

    Attributes:
        path: the file.
        key: name of the data set of an HDF5 file; ``None``: the whole file.
        item: index along the first axis of the data set.
    """

    path: Path
    key: str | None = None
    item: int | None = None

    def read(self, axes: Sequence[str] | None) -> Stack:
        """Return the content.

        Args:
            axes: names of the axes of an array in order; ``None``: not stated.

        Raises:
            UserError: it cannot be read.
        """
        return read_file(self.path, axes) if self.key is None else read_hdf5(self.path, self.key, axes, self.item)

    def __str__(self) -> str:
        return str(self.path) if self.key is None else f"{self.path}, {self.key}[{self.item}]"


@dataclass(frozen=True)
class Pair:
    """An input with its target.

    Attributes:
        name: unique among the pairs of a split.
        input: place of the input.
        target: place of the target; ``None``: unlabelled.
        subject: a subject is in one split only.
    """

    name: str
    input: Part
    target: Part | None
    subject: str

    def renamed(self, prefix: str) -> Pair:
        """Return the pair with another subject, which differs from that of an equal name in another split."""
        return replace(self, subject=f"{prefix}/{self.subject}")


@dataclass
class Listing:
    """Pairs of a data set.

    Attributes:
        splits: pairs by split, where files or folders state it; under ``""`` those to be divided.
        division: how splits are stated, for the inventory.
        passed_over: what is not read.
    """

    splits: dict[str, list[Pair]]
    division: str
    passed_over: list[PassedOver] = field(default_factory=list)


def subject_of(name: str, pattern: str | None) -> str:
    r"""Return the subject of a pair.

    Args:
        name: its path without suffix.
        pattern: regular expression; its first group, or its whole match, is the subject. Without a match or pattern,
            the first part of the name is the subject.

    >>> subject_of("cell7/field2", None), subject_of("p12_s3", r"p\d+")
    ('cell7', 'p12')
    """
    match = re.search(pattern, name) if pattern else None
    if match:
        return match.group(1) if match.re.groups else match.group(0)
    return name.split("/")[0]
