"""Which volume belongs to which split, so that no subject is in two."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2ikd import UserError
from i2ikd_mri.readers.image import FolderVolume
from i2ikd_mri.volumes import SPLITS

_DONORS = (("val", "train"), ("test", "val"))
"""A split without a folder, and the one that a part of is held out for it; in this order."""
_COPIES = re.compile(r"acc_\d+x")
"""KD-MRI's folders of one volume at several accelerations: part of a volume's path, not of its subject."""


@dataclass(frozen=True)
class Entry:
    """A file (or a folder of slices) that is a volume."""

    path: Path
    name: str
    """Its path below the split's folder, without the suffix, with ``/``."""

    def files(self) -> Sequence[Path]:
        """Return the files that hold the volume."""
        return FolderVolume(self.path).files() if self.path.is_dir() else [self.path]

    def subject(self, pattern: str | None) -> str:
        """Return whom the volume is of: what ``pattern`` finds in the name, else the name's first part."""
        found = re.search(pattern, self.name) if pattern else None
        if found:
            return found.group(1) if found.re.groups else found.group(0)
        parts = [part for part in self.name.split("/") if not _COPIES.fullmatch(part)]
        return parts[0] if parts else self.name


def by_hash(subjects: Iterable[str]) -> list[str]:
    """Return the subjects in an order that looks random and depends on their names alone."""
    return sorted(set(subjects), key=lambda name: (hashlib.sha256(name.encode()).hexdigest(), name))


def hold_out(found: Mapping[str, list[Entry]], share: float, pattern: str | None, root: Path) -> dict[str, list[Entry]]:
    """Fill each split that has no folder with ``share`` of the subjects of the split before it.

    Raises:
        UserError: there are fewer than two subjects to share.
    """
    splits = dict(found)
    for split, donor in _DONORS:
        if share and split not in splits and donor in splits:
            order = by_hash(entry.subject(pattern) for entry in splits[donor])
            if len(order) < 2:
                raise UserError(
                    f"{root}: {donor!r} has {len(order)} subject, of which no part can be held out for {split!r}; "
                    f"add subjects, or a folder for {split!r}"
                )
            held = set(order[: _count(share, len(order), len(order) - 1)])
            splits[split] = [e for e in splits[donor] if e.subject(pattern) in held]
            splits[donor] = [e for e in splits[donor] if e.subject(pattern) not in held]
    return splits


def divide(
    entries: Sequence[Entry], fractions: tuple[float, float, float], pattern: str | None, root: Path
) -> dict[str, list[Entry]]:
    """Divide the volumes of a folder without splits by subject.

    Args:
        entries: all volumes.
        fractions: of the subjects, for train, val and test; they sum to 1. No split with a share stays empty.
        pattern: see ``Entry.subject``.
        root: the folder, for a message.

    Raises:
        UserError: the fractions do not sum to 1, or there are fewer subjects than splits.
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0 or not fractions[0]:
        raise UserError(f"fractions = {list(fractions)}: they should be shares of train, val and test that sum to 1")
    order = by_hash(entry.subject(pattern) for entry in entries)
    wanted = sum(share > 0 for share in fractions)
    if len(order) < wanted:
        raise UserError(
            f"{root}: it has no folder for any split and {len(order)} subject(s), too few to divide into {wanted} "
            f"splits; make folders {', '.join(SPLITS)}, or add subjects"
        )
    test = _count(fractions[2], len(order), len(order) - wanted + 1)
    val = _count(fractions[1], len(order), len(order) - test - 1)
    parts = {"test": set(order[:test]), "val": set(order[test : test + val]), "train": set(order[test + val :])}
    splits = {split: [e for e in entries if e.subject(pattern) in parts[split]] for split in SPLITS}
    return {split: members for split, members in splits.items() if members}


def _count(share: float, total: int, most: int) -> int:
    return min(most, max(1, round(share * total))) if share else 0


def refuse_straddling(splits: Mapping[str, Sequence[Entry]], pattern: str | None, root: Path) -> None:
    """Raise a ``UserError`` when a subject is in two splits."""
    seen: dict[str, str] = {}
    for split, entries in splits.items():
        for entry in entries:
            subject = entry.subject(pattern)
            other = seen.setdefault(subject, split)
            if other != split:
                raise UserError(
                    f"{root}: {subject!r} is in both {other!r} and {split!r}; a subject belongs to one split: "
                    f"remove one, set repeated_names = 'distinct' if they are different people, or set subject to a "
                    f"regular expression that finds the subject in a path such as {entry.name!r}"
                )
