"""Refusal of listings in which it is ambiguous what a volume or a subject is; each message has the resolving option."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2ikd import UserError
from i2ikd.subjects import refuse_parts_of_subjects
from i2ikd_mri.readers import SUFFIXES
from i2ikd_mri.splits import Entry

_SUFFIX = re.compile(r"(\.nii)?\.[^.]+$")
_SAME_FORMAT = {".hdf5": ".h5", ".nii.gz": ".nii", ".tiff": ".tif"}
_CONTRAST = re.compile(r"t[12][a-z]*|t2star[a-z]*|pd[a-z]*|flair|dwi|adc|swi|bold|asl|fa|md", re.IGNORECASE)
_REPETITION = re.compile(r"(T[12])0\d")
"""Contrast and repetition in the names of M4Raw, such as T201."""


def refuse_equal_names(entries: Sequence[Entry], folder: Path) -> None:
    """Check that no two volumes of a folder have one name.

    Args:
        entries: the volumes of a split.
        folder: the folder of the split, the prefix of the message.

    Raises:
        UserError: two files differ in their suffix only.
    """
    seen: dict[str, Entry] = {}
    for entry in entries:
        other = seen.setdefault(entry.name, entry)
        if other is not entry:
            files = sorted(e.path.relative_to(folder).as_posix() for e in (other, entry))
            raise UserError(
                f"{folder}: expected one file for the volume {entry.name!r}, got {files[0]!r} and {files[1]!r}; remove "
                f"or rename one, or select one kind with include = {_pattern(Path(files[0]))!r}"
            )


def refuse_several_formats(splits: Mapping[str, Sequence[Entry]], root: Path) -> None:
    """Check that all volumes have one file format.

    Args:
        splits: the volumes of each split, or of the whole folder.
        root: the folder, the prefix of the message.

    Raises:
        UserError: files of several formats.
    """
    examples: dict[str, Path] = {}
    counts: Counter[str] = Counter()
    for entries in splits.values():
        for path in (path for entry in entries for path in entry.files()):
            suffix = _suffix(path)
            suffix = _SAME_FORMAT.get(suffix, suffix)
            counts[suffix] += 1
            examples.setdefault(suffix, path)
    if len(counts) > 1:
        found = ", ".join(
            f"{count} {suffix} ({examples[suffix].relative_to(root).as_posix()!r})"
            for suffix, count in counts.most_common()
        )
        chosen = max(counts, key=lambda suffix: (counts[suffix], suffix not in (".png", ".tif")))
        pattern = _pattern(examples[chosen])
        raise UserError(
            f"{root}: expected files of one format, got {found}; select one with include = {pattern!r}, or state all "
            f"of them as a list: include = ['**/*']"
        )


def refuse_several_images(splits: Mapping[str, Sequence[Entry]], pattern: str | None, root: Path) -> None:
    """Check that the volumes of a subject are images of one kind, as far as their names state it.

    Names differ in kind if they differ in words; numbers count in names of contrasts only (T1, T2).

    Args:
        splits: the volumes of each split.
        pattern: see ``Entry.subject``.
        root: the folder, the prefix of the message.

    Raises:
        UserError: a subject has files of several kinds, or a folder of slices has.
    """
    for entries in splits.values():
        first: dict[str, Path] = {}
        for entry in entries:
            subject = entry.subject(pattern)
            for path in entry.files():
                if path.name.lower().endswith(SUFFIXES["dicom"]):
                    continue  # a DICOM file states its series in its header, which the reader checks
                other = first.setdefault(subject, path)
                if kind(path) != kind(other):
                    raise UserError(
                        f"{root}: expected one kind of image for the subject {subject!r}, got "
                        f"{other.relative_to(root).as_posix()!r} and {path.relative_to(root).as_posix()!r}; select one "
                        f"with include = {_pattern(other, kind(other) - kind(path))!r}, or state that all are wanted "
                        "with a list: include = ['**/*']"
                    )


def refuse_common_stems(splits: Mapping[str, Sequence[Entry]], root: Path) -> None:
    """Check that subjects, taken from names for lack of the option ``subject``, are not parts of one subject.

    Names such as ``patient01_slice000`` and ``patient01_slice001`` have a common stem with a number of its own, or
    with a word such as ``slice`` after it.

    Args:
        splits: the volumes of each split, or of the whole folder.
        root: the folder, the prefix of the message.

    Raises:
        UserError: two subjects have a common stem.
    """
    refuse_parts_of_subjects((entry.subject(None) for entries in splits.values() for entry in entries), root)


def refuse_same_files(splits: Mapping[str, Sequence[Entry]], root: Path) -> None:
    """Check that no file is listed in two splits under different names, through symbolic links.

    Args:
        splits: the volumes of each split.
        root: the folder, the prefix of the message.

    Raises:
        UserError: two paths of two splits are one file.
    """
    seen: dict[str, tuple[str, Path]] = {}
    folders: dict[Path, str] = {}
    for split, entries in splits.items():
        for path in (path for entry in entries for path in entry.files()):
            if path.parent not in folders:
                folders[path.parent] = os.path.realpath(path.parent)
            real = os.path.realpath(path) if path.is_symlink() else f"{folders[path.parent]}/{path.name}"
            other_split, other = seen.setdefault(real, (split, path))
            if other_split != split:
                raise UserError(
                    f"{root}: {path.relative_to(root).as_posix()!r} and {other.relative_to(root).as_posix()!r} are "
                    f"links to one file, in {split!r} and {other_split!r}; a subject belongs to one split: remove one"
                )


def kind(path: Path) -> frozenset[str]:
    """Return the words of a file name that state the kind of its image: without numbers, except of contrasts.

    Args:
        path: of the file.

    >>> kind(Path("sub-1_T1w.nii.gz")) == kind(Path("sub-2_T1w.nii.gz")), kind(Path("T1.npy")) == kind(Path("T2.npy"))
    (True, False)
    """
    tokens = [_REPETITION.sub(r"\1", token) for token in re.split(r"[^a-zA-Z0-9]+", _SUFFIX.sub("", path.name))]
    cleaned = (token if _CONTRAST.fullmatch(token) else re.sub(r"\d+", "", token) for token in tokens)
    return frozenset(token.lower() for token in cleaned if token)


def _suffix(path: Path) -> str:
    match = _SUFFIX.search(path.name.lower())
    return match.group(0) if match else ""


def _pattern(path: Path, words: frozenset[str] = frozenset()) -> str:
    """Return a glob pattern of the files with the suffix of a path and, of its words, the last in the name."""
    lower = path.name.lower()
    placed = sorted((lower.rfind(word), word) for word in words)
    suffix = path.name[len(path.name) - len(_suffix(path)) :]
    if not placed:
        return f"**/*{suffix}"
    start, word = placed[-1]
    return f"**/*{path.name[start : start + len(word)]}*{suffix}"
