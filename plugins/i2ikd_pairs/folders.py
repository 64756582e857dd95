"""Pairs of files in two folders, ``input`` and ``target``, by equal names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from i2ikd import PassedOver, UserError, natural_key
from i2ikd.split_names import Split, refuse_hidden_splits, split_folders
from i2ikd_pairs.formats.files import FORMATS, suffix_of
from i2ikd_pairs.pair import Listing, Pair, Part, subject_of

_NO_SUFFIX = "no suffix of a supported format"


def list_folders(
    root: Path, sides: tuple[str, str], splits: Mapping[Split, Sequence[str]] | None, subject: str | None
) -> Listing:
    """Return the pairs of a folder.

    Args:
        root: holds ``input/`` and ``target/``, in them folders of splits if there are any; or a folder for each split,
            with ``input/`` and ``target/`` in it.
        sides: names of the folders of inputs and of targets, without regard to case.
        splits: names of the folders of a split; ``None``: recognised by their words, ``{}``: there are none.
        subject: see ``subject_of``.

    Raises:
        UserError: folders that are missing or ambiguous, or files without partner or with several.
    """
    inside = {name: _side(root, name) for name in sides}
    found = split_folders(root, splits) if inside[sides[0]] is None else {}
    passed_over: dict[str, list[Path]] = {}
    if found:
        pairs: dict[str, list[Pair]] = {
            split: _pairs(folder, _side(folder, sides[0]), _side(folder, sides[1]), sides, subject, passed_over)
            for split, folder in found.items()
        }
        stated = found
    else:
        input_folder, target_folder = inside[sides[0]], inside[sides[1]]
        if input_folder is None:
            raise UserError(
                f"{root}: expected folders {sides[0]}/ and {sides[1]}/, or folders of splits that hold them, got "
                f"{_names(root)}; set input and target to the names of the folders"
            )
        stated = split_folders(input_folder, splits)
        if not stated:
            whole = _pairs(root, input_folder, target_folder, sides, subject, passed_over)
            refuse_hidden_splits(input_folder, [pair.input.path for pair in whole])
            return Listing({"": whole}, "no split folders", _passed_over(passed_over, root))
        targets = {} if target_folder is None else split_folders(target_folder, splits)
        pairs = {
            split: _pairs(root, folder, targets.get(split), sides, subject, passed_over)
            for split, folder in stated.items()
        }
    names = ", ".join(f"{split} is {folder.relative_to(root).as_posix()}/" for split, folder in stated.items())
    return Listing(pairs, f"divided by folder: {names}", _passed_over(passed_over, root))


def _side(folder: Path, name: str) -> Path | None:
    """Return the folder of inputs or targets.

    Raises:
        UserError: two folders whose names differ in case only.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = [path for path in folder.iterdir() if path.is_dir() and path.name.lower() == name.lower()]
    if len(found) > 1:
        raise UserError(f"{folder}: expected one folder {name!r}, got {', '.join(sorted(p.name for p in found))}")
    return found[0] if found else None


def _pairs(
    root: Path,
    inputs: Path | None,
    targets: Path | None,
    sides: tuple[str, str],
    subject: str | None,
    passed_over: dict[str, list[Path]],
) -> list[Pair]:
    if inputs is None:
        raise UserError(f"{root}: expected a folder {sides[0]}/, got {_names(root)}")
    left = _files(inputs, passed_over)
    right = {} if targets is None else _files(targets, passed_over)
    if alone := [path for name, path in right.items() if name not in left]:
        raise UserError(
            f"{alone[0]}: expected an input of this name below {inputs}, got none ({len(alone)} of {len(right)} "
            "targets have none); give input and target of a pair one name, or remove the file"
        )
    return [
        Pair(name, Part(path), Part(right[name]) if name in right else None, subject_of(name, subject))
        for name, path in left.items()
    ]


def _files(folder: Path, passed_over: dict[str, list[Path]]) -> dict[str, Path]:
    """Return the files below a folder by path without suffix, in natural order.

    Raises:
        UserError: two files of one name, or a folder without files.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*"), key=lambda path: natural_key(path.as_posix())):
        below = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in below.parts):
            continue
        suffix = suffix_of(path)
        if suffix is None:
            passed_over.setdefault(_NO_SUFFIX, []).append(path)
            continue
        other = found.setdefault(below.as_posix()[: -len(suffix)], path)
        if other != path:
            raise UserError(f"{folder}: expected one file of a name, got {other.name!r} and {path.name!r}; remove one")
    if not found:
        raise UserError(f"{folder}: expected files {' '.join(FORMATS)}, got none")
    return found


def _passed_over(found: Mapping[str, Sequence[Path]], root: Path) -> list[PassedOver]:
    return [PassedOver(why, len(paths), paths[0].relative_to(root).as_posix()) for why, paths in found.items()]


def _names(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") if names else "an empty folder"
