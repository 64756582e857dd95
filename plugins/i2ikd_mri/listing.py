"""Listing of the files below a folder, with the reason of every file that is passed over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from i2ikd import UserError
from i2ikd.split_names import holds_labels

ALL_FILES = "**/*"
"""Pattern of all files at any depth."""
NO_SUFFIX = "no suffix of the reader"
"""Reason of files that no reader of the dataset reads."""

LABELS = "labels or derived data by the folder's name"
"""Reason of folders whose names state that their files are not images."""


@dataclass
class Listing:
    """Files below a folder.

    Attributes:
        files: the files to read, sorted.
        passed_over: files and folders that are not read, by reason.
    """

    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[Path]] = field(default_factory=dict)

    def pass_over(self, path: Path, reason: str) -> None:
        """Record a path that is not read.

        Args:
            path: file or folder.
            reason: for the summary of the data.
        """
        self.passed_over.setdefault(reason, []).append(path)


def list_files(folder: Path, include: Sequence[str], suffixes: tuple[str, ...]) -> Listing:
    """List the files below a folder; symbolic links are followed.

    Folders of labels and derived data are passed over, unless a pattern contains the folder's name.

    Args:
        folder: the folder.
        include: glob patterns of paths below the folder, of which one has to match; ``**`` matches any number of
            folders.
        suffixes: accepted endings of file names in lower case; empty: all.

    Raises:
        UserError: a folder cannot be listed, or a symbolic link that ``include`` selects is broken.
    """
    listing = Listing()
    patterns = [_compiled(pattern) for pattern in include]
    stated = frozenset(part for pattern in include for part in pattern.split("/"))
    for path, is_link, is_file in _walk(folder, (os.path.realpath(folder),), listing, stated):
        name = path.relative_to(folder).as_posix()
        if not any(pattern.fullmatch(name) for pattern in patterns):
            listing.pass_over(path, f"not selected by include = {list(include) if len(include) > 1 else include[0]!r}")
        elif is_link and not path.exists():
            raise UserError(
                f"{path}: broken symbolic link to {str(path.readlink())!r}; restore its target (git-annex and DataLad: "
                f"get the file), or remove the link"
            )
        elif suffixes and not path.name.lower().endswith(suffixes):
            listing.pass_over(path, NO_SUFFIX)
        elif is_file:
            listing.files.append(path)
        else:
            listing.pass_over(path, "neither file nor folder")
    listing.files.sort()
    return listing


class _Found(NamedTuple):
    path: Path
    is_link: bool
    is_file: bool


def _walk(folder: Path, above: tuple[str, ...], listing: Listing, stated: frozenset[str]) -> Iterator[_Found]:
    """Yield everything below a folder that is no folder; the folder states types, so that only links are looked up.

    Args:
        folder: the folder.
        above: real paths of the folder and of those above it, to detect links that form a loop.
        listing: receives the folders that are passed over.
        stated: names of folders that are listed although they hold labels.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{folder}: the folder cannot be read ({error.strerror}); change its permissions, or remove it from the "
            "data"
        ) from error
    for entry in found:
        path, is_link = folder / entry.name, entry.is_symlink()
        known = path if is_link else entry  # a link may lead to nothing or to itself, which a path accepts
        if entry.name.startswith("."):
            listing.pass_over(path, "hidden")
        elif not known.is_dir():
            yield _Found(path, is_link, known.is_file())
        elif holds_labels(path.name) and path.name not in stated:
            listing.pass_over(path, LABELS)
        elif (real := os.path.realpath(path)) in above:
            listing.pass_over(path, "link to a folder above it")
        else:
            yield from _walk(path, (*above, real), listing, stated)


def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a glob pattern of relative paths; ``**`` matches any number of folders, also none."""
    parts = pattern.strip("/").split("/")
    expression = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            expression += r".*" if last else r"(?:[^/]+/)*"
        else:
            # fnmatch's wildcards cross folders, glob's do not: '.' matches any character but a slash.
            expression += _within_folder(part) + ("" if last else "/")
    return re.compile(expression, re.DOTALL)


def _within_folder(part: str) -> str:
    """Return the regular expression of one component of a pattern."""
    expression = ""
    for piece in re.findall(r"\*|\?|\[[^\]]+\]|[^*?\[]+|\[", part):
        if piece == "*":
            expression += "[^/]*"
        elif piece == "?":
            expression += "[^/]"
        elif piece.startswith("[") and len(piece) > 1:
            expression += translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
        else:
            expression += re.escape(piece)
    return expression
