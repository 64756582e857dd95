"""Folders whose pictures or DICOM files are the slices of one volume: one rule for training and for inference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from i2ikd import UserError
from i2ikd.natural_order import natural_key
from i2ikd_mri.ambiguities import kind
from i2ikd_mri.readers import SUFFIXES
from i2ikd_mri.readers.image import STACKED, FolderVolume
from i2ikd_mri.splits import Entry


class SelectedStack(FolderVolume):
    """Volume of selected pictures of a folder.

    Args:
        path: the folder.
        files: the pictures, which are its slices, in order.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        super().__init__(path)
        self._files = list(files)


def is_picture(path: Path) -> bool:
    """Return whether a file is a slice of a volume if it is in a folder of its own.

    Args:
        path: the file.
    """
    return path.suffix.lower() in STACKED


def is_stack(folder: Path, suffixes: tuple[str, ...], subject: str | None) -> bool:
    """Return whether a folder, in new data, is one volume: its pictures are of one kind and of one subject.

    Files that no reader reads (``Thumbs.db``) and hidden files do not count.

    Args:
        folder: the folder.
        suffixes: file name endings of the readers.
        subject: regular expression of the subject in a file name; ``None``: the names do not state subjects.

    Raises:
        UserError: several pictures are beside files of another format, or beside folders with files that can be read.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    readable = [path for path in visible if path.is_file() and path.name.lower().endswith(suffixes)]
    pictures = [path for path in readable if is_picture(path)]
    if not pictures or len({kind(path) for path in pictures}) > 1:
        return False
    if subject is not None and len({Entry(path, path.stem).subject(subject) for path in pictures}) > 1:
        return False
    others = [path for path in readable if not is_picture(path)]
    others += [path for path in visible if path.is_dir() and _holds_readable(path, suffixes)]
    if others and len(pictures) > 1:
        raise UserError(
            f"{folder}: expected pictures alone, which are one volume, got {sorted(pictures)[0].name!r} beside "
            f"{sorted(others)[0].name!r}; move them apart, or pass one file or folder at a time"
        )
    return not others


def is_series(folder: Path, suffixes: tuple[str, ...]) -> bool:
    """Return whether a folder, in new data, is one volume of DICOM files: nothing else in it can be read.

    Args:
        folder: the folder.
        suffixes: file name endings of the readers.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    readable = [path for path in visible if path.is_file() and path.name.lower().endswith(suffixes)]
    if any(path.is_dir() and _holds_readable(path, suffixes) for path in visible):
        return False
    return bool(readable) and all(path.name.lower().endswith(SUFFIXES["dicom"]) for path in readable)


def refuse_part_of_series(entry: Entry) -> None:
    """Check that the DICOM files of a volume are all of their folder: a series is read as a whole.

    Args:
        entry: the volume.

    Raises:
        UserError: ``include`` selects some files of the folder only.
    """
    if not entry.slices:
        return
    present = [path for path in entry.path.iterdir() if not path.name.startswith(".")]
    series = [path for path in present if path.name.lower().endswith(SUFFIXES["dicom"])]
    if len(entry.slices) != len(series):
        raise UserError(
            f"{entry.path}: expected all {len(series)} DICOM files of the folder, got {len(entry.slices)} by include; "
            "select folders with include, and slices with the dataset option slices"
        )


def in_order(files: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files of a stack in natural order of their names.

    Args:
        files: the files.
    """
    return tuple(sorted(files, key=lambda path: natural_key(path.name)))


def _holds_readable(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(path.is_file() and path.name.lower().endswith(suffixes) for path in folder.rglob("*"))
