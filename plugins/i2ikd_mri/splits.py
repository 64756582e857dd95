"""Assignment of volumes to splits such that no subject is in two of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from i2ikd import UserError
from i2ikd.subjects import by_hash, divide_subjects, share_of
from i2ikd_mri.readers import companions
from i2ikd_mri.volumes import SPLITS

_DONORS = (("val", "train"), ("test", "val"))
"""A split without a folder, and the split whose subjects are held out for it; in the order of processing."""
_COPIES = re.compile(r"acc_\d+x")
"""KD-MRI's folders of one volume at several accelerations, which are part of the path but not of the subject."""


@dataclass(frozen=True)
class Entry:
    """File, or folder of slices, that holds a volume.

    Attributes:
        path: the file or folder.
        name: its path below the split's folder, without the suffix, with ``/``.
        slices: the files of a folder, each of them one slice, in natural order; empty for a file.
    """

    path: Path
    name: str
    slices: tuple[Path, ...] = ()

    def files(self) -> Sequence[Path]:
        """Return the files of the volume: one, or one for each slice."""
        return self.slices or (self.path,)

    def content(self) -> Sequence[Path]:
        """Return the files that the values of the volume depend on: ``files``, and the values beside a header file."""
        return (*self.files(), *(beside for path in self.files() for beside in companions(path)))

    def subject(self, pattern: str | None) -> str:
        """Return the subject of the volume.

        Args:
            pattern: regular expression; its first group, or its whole match, in the name is the subject. Without a
                match or pattern, the first part of the name is the subject.
        """
        match = re.search(pattern, self.name) if pattern else None
        if match:
            return match.group(1) if match.re.groups else match.group(0)
        parts = [part for part in self.name.split("/") if not _COPIES.fullmatch(part)]
        return parts[0] if parts else self.name


def hold_out(found: Mapping[str, list[Entry]], share: float, pattern: str | None, root: Path) -> dict[str, list[Entry]]:
    """Fill each split without a folder with a share of the subjects of the preceding split.

    Args:
        found: the volumes of each split that has a folder.
        share: share of the subjects that is held out, 0..1; 0 changes nothing.
        pattern: see ``Entry.subject``.
        root: the folder, the prefix of messages.

    Returns:
        The volumes of each split.

    Raises:
        UserError: the preceding split has fewer than two subjects.
    """
    splits = dict(found)
    for split, donor in _DONORS:
        if share and split not in splits and donor in splits:
            order = by_hash(entry.subject(pattern) for entry in splits[donor])
            if len(order) < 2:
                raise UserError(
                    f"{root}: expected at least 2 subjects in {donor!r} to hold out a part for {split!r}, got "
                    f"{len(order)}; add subjects, or a folder for {split!r}"
                )
            held = set(order[: share_of(share, len(order), len(order) - 1)])
            splits[split] = [e for e in splits[donor] if e.subject(pattern) in held]
            splits[donor] = [e for e in splits[donor] if e.subject(pattern) not in held]
    return splits


def divide(
    entries: Sequence[Entry], fractions: tuple[float, float, float], pattern: str | None, root: Path
) -> dict[str, list[Entry]]:
    """Divide the volumes of a folder without splits by subject.

    Args:
        entries: all volumes.
        fractions: shares of the subjects for train, val and test, which sum to 1. A split with a share above 0 receives
            at least one subject.
        pattern: see ``Entry.subject``.
        root: the folder, the prefix of messages.

    Returns:
        The volumes of each split that is not empty.

    Raises:
        UserError: the fractions do not sum to 1, or there are fewer subjects than splits.
    """
    parts = divide_subjects((entry.subject(pattern) for entry in entries), fractions, root)
    splits = {split: [e for e in entries if e.subject(pattern) in parts[split]] for split in SPLITS}
    return {split: members for split, members in splits.items() if members}


def refuse_straddling(splits: Mapping[str, Sequence[Entry]], pattern: str | None, root: Path) -> None:
    """Check that no subject is in two splits.

    Args:
        splits: the volumes of each split.
        pattern: see ``Entry.subject``.
        root: the folder, the prefix of the message.

    Raises:
        UserError: a subject is in two splits.
    """
    seen: dict[str, tuple[str, Path]] = {}
    for split, entries in splits.items():
        for entry in entries:
            subject = entry.subject(pattern)
            other, first = seen.setdefault(subject, (split, entry.path))
            if other != split:
                files = " and ".join(repr(path.relative_to(root).as_posix()) for path in (first, entry.path))
                raise UserError(
                    f"{root}: {subject!r} is in both {other!r} and {split!r} ({files}); a subject belongs to one "
                    f"split: remove one, set repeated_names = 'distinct' if they are different subjects, or set "
                    f"subject to a regular expression that matches the subject in a path such as {entry.name!r}"
                )
