"""Inventory of the data of a task: what each split holds, how it was divided, what was passed over and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from i2ikd.sample import SampleKey

_FEW = 3
"""Number of values of one kind that a line names."""


@dataclass(frozen=True)
class SplitInventory:
    """Content of one split.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        subjects: number of subjects.
        volumes: number of volumes.
        slices: number of slices that are used.
        sizes: number of volumes by size of their slices in pixels, ``height x width``.
        types: number of volumes by type of their values, ``real`` or ``complex``.
        low: smallest stored value of the inspected slices; ``None`` without a real-valued image.
        high: largest stored value of the inspected slices; ``None`` without a real-valued image.
        inspected: number of volumes that ``sizes``, ``types``, ``low`` and ``high`` are of.
        left_out: number of slices that are not used because they are all zero.
    """

    split: str
    subjects: int
    volumes: int
    slices: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    low: float | None = None
    high: float | None = None
    inspected: int = 0
    left_out: int = 0

    def line(self) -> str:
        """Return the content as one line of text."""
        parts = [
            f"{_count(self.subjects, 'subject')}, {_count(self.volumes, 'volume')}, {_count(self.slices, 'slice')}",
            _several(self.sizes),
            _several(self.types),
        ]
        if self.low is not None and self.high is not None:
            parts.append(f"values {self.low:.4g}..{self.high:.4g}")
        if self.inspected < self.volumes:
            parts.append(f"of {_count(self.inspected, 'volume')} inspected")
        if self.left_out:
            parts.append(f"{_count(self.left_out, 'slice')} left out: all zero")
        return f"{self.split}: " + "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class PassedOver:
    """Files or folders that are not read, for one reason.

    Attributes:
        reason: why.
        count: number of files and folders.
        example: path of one of them, relative to the root of the data.
    """

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class FileSummary:
    """Files of a data set.

    Attributes:
        formats: number of files by file name ending.
        division: how the volumes were divided into splits.
        passed_over: what is not read.
    """

    formats: Mapping[str, int]
    division: str
    passed_over: Sequence[PassedOver] = ()


@dataclass(frozen=True)
class Inventory:
    """Data of a task.

    Attributes:
        splits: content of each split.
        files: the files; ``None`` for data that is not read from files.
    """

    splits: Sequence[SplitInventory]
    files: FileSummary | None = None

    def lines(self) -> list[str]:
        """Return the inventory as lines of text."""
        lines = [split.line() for split in self.splits]
        if self.files is not None:
            formats = ", ".join(f"{count} {ending}" for ending, count in self.files.formats.items())
            lines.append(f"files: {formats}; {self.files.division}")
            lines += [
                f"passed over: {item.count} ({item.reason}), e.g. {item.example}" for item in self.files.passed_over
            ]
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return the inventory as JSON values."""
        return asdict(self)


def summarise_split(
    split: str, keys: Sequence[SampleKey], images: Iterable[np.ndarray], inspected: int
) -> SplitInventory:
    """Return the inventory of a split from the keys of its samples and a few images.

    Args:
        split: ``train``, ``val`` or ``test``.
        keys: of all samples.
        images: one image [..., H, W] for each inspected volume.
        inspected: number of inspected volumes.
    """
    sizes: dict[str, int] = {}
    types: dict[str, int] = {}
    low, high = float("inf"), float("-inf")
    for image in images:
        size = f"{image.shape[-2]} x {image.shape[-1]}"
        kind = "complex" if np.iscomplexobj(image) else "real"
        sizes[size], types[kind] = sizes.get(size, 0) + 1, types.get(kind, 0) + 1
        if kind == "real":
            low, high = min(low, float(image.min())), max(high, float(image.max()))
    return SplitInventory(
        split=split,
        subjects=len({key.subject for key in keys}),
        volumes=len({(key.subject, key.volume) for key in keys}),
        slices=len(keys),
        sizes=sizes,
        types=types,
        low=low if low <= high else None,
        high=high if low <= high else None,
        inspected=inspected,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _several(counts: Mapping[str, int]) -> str:
    """Return one value, or the most frequent ones with their counts."""
    if len(counts) < 2:
        return next(iter(counts), "")
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rest = len(ordered) - _FEW
    return ", ".join(f"{value} ({count})" for value, count in ordered[:_FEW]) + (f" and {rest} more" * (rest > 0))
