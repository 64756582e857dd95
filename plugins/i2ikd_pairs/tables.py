"""Pairs stated by a CSV file, or by two data sets of one HDF5 file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2ikd import UserError
from i2ikd.split_names import split_of
from i2ikd_pairs.formats.files import suffix_of
from i2ikd_pairs.pair import Listing, Pair, Part, subject_of

_NONE = "no splits stated"


def list_csv(path: Path, sides: tuple[str, str], subject: str | None) -> Listing:
    """Return the pairs of a CSV file.

    Args:
        path: the file; its columns are the input and the target, with paths relative to its folder (an empty target is
            unlabelled), and may be ``split`` and ``subject``.
        sides: names of the columns of inputs and targets.
        subject: see ``subject_of``; used without a column ``subject``. Without either, each pair is a subject, and all
            inputs have to be in one folder.

    Raises:
        UserError: the file cannot be read, lacks a column, or states an unknown split or a file twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            columns, rows = list(table.fieldnames or []), list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from error
    if missing := [name for name in sides if name not in columns]:
        raise UserError(
            f"{path}: expected a column {missing[0]!r}, got {', '.join(columns) or 'none'}; set input and target "
            "to the names of the columns"
        )
    if "subject" not in columns and subject is None and len({Path(row[sides[0]] or "").parent for row in rows}) > 1:
        raise UserError(
            f"{path}: expected a column 'subject', as inputs are in several folders, got none; add it, or set "
            "subject = '.+' if each pair is a subject"
        )
    splits: dict[str, list[Pair]] = {}
    seen: set[str] = set()
    for number, row in enumerate(rows, 2):
        given, wanted = row[sides[0]] or "", row[sides[1]] or ""
        suffix = suffix_of(Path(given))
        name = given[: -len(suffix)] if suffix else given
        if not given or name in seen:
            problem = f"{given!r} a second time" if given else "an empty cell"
            raise UserError(f"{path}, line {number}: expected an input that no other line has, got {problem}")
        seen.add(name)
        split = _split(row.get("split"), f"{path}, line {number}") if "split" in columns else ""
        target = Part(path.parent / wanted) if wanted else None
        stated = row.get("subject") or subject_of(name if subject else name.rpartition("/")[2], subject)
        splits.setdefault(split, []).append(Pair(name, Part(path.parent / given), target, stated))
    return Listing(splits, _division("split" in columns, "column"))


def list_hdf5(path: Path, sides: tuple[str, str], subject: str | None) -> Listing:
    """Return the pairs of an HDF5 file: the items along the first axis of two data sets.

    Args:
        path: the file; it may have data sets ``split`` and ``subject`` with an entry for each item.
        sides: names of the data sets of inputs and targets.
        subject: see ``subject_of``; used without a data set ``subject``, which then has to be stated.

    Raises:
        UserError: the file is damaged, lacks a data set, or does not state what a subject is.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            columns = {
                name: file[name] for name in (*sides, "split", "subject") if isinstance(file.get(name), h5py.Dataset)
            }
            if missing := [name for name in sides if name not in columns]:
                raise UserError(
                    f"{path}: expected a data set {missing[0]!r}, got {', '.join(sorted(file)) or 'none'}; set "
                    "input and target to the names of the data sets"
                )
            lengths = {name: column.shape[0] if column.ndim else 0 for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                raise UserError(f"{path}: expected data sets of one length, got {lengths}")
            texts = {name: _texts(columns[name]) for name in ("split", "subject") if name in columns}
    except OSError as error:
        raise UserError(f"{path}: not an HDF5 file, or damaged ({' '.join(str(error).split())})") from error
    if "subject" not in texts and subject is None:
        raise UserError(
            f"{path}: expected a data set 'subject' with the subject of each item, as slices of a subject are in one "
            "split, got none; add it, or set subject = '[^/]+' if each item is a subject"
        )
    splits: dict[str, list[Pair]] = {}
    for item in range(lengths[sides[0]]):
        split = _split(texts["split"][item], f"{path}, split[{item}]") if "split" in texts else ""
        stated = texts["subject"][item] if "subject" in texts else subject_of(str(item), subject)
        pair = Pair(str(item), Part(path, sides[0], item), Part(path, sides[1], item), stated)
        splits.setdefault(split, []).append(pair)
    return Listing(splits, _division("split" in texts, "data set"))


def _texts(column: Any) -> Sequence[str]:
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in column[()]]


def _split(text: str | None, where: str) -> str:
    split = split_of(text or "")
    if split is None:
        raise UserError(f"{where}: expected a split (train, val or test), got {text!r}")
    return split


def _division(stated: bool, word: str) -> str:
    return f"divided by the {word} split" if stated else _NONE
