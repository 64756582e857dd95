"""Recognition of the split folders of a data set by the words of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from i2ikd.errors import UserError
from i2ikd.natural_order import natural_key

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

_SPLIT_WORDS: Mapping[Split, re.Pattern[str]] = {
    "train": re.compile(r"(train|training|tr|trn)(set|data|images)?"),
    "val": re.compile(r"(val|valid|validation|validating|vl|dev)(set|data|images)?"),
    "test": re.compile(r"(test|testing|ts|tst|holdout)(set|data|images)?"),
}
_RESEMBLING = re.compile(r"(train|valid|test|eval)[a-z]*")
_LABEL_WORDS = re.compile(
    r"labels?|masks?|segmentations?|segs?|annotations?|contours?|groundtruth|gt|derivatives?|sourcedata"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words(name: str) -> list[str]:
    """Return the words of a name in lower case: runs of letters or digits, divided at capitals.

    Args:
        name: name of a file or folder.

    >>> words("singlecoil_train"), words("imagesTr"), words("VAL-2")
    (['singlecoil', 'train'], ['images', 'tr'], ['val', '2'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def split_of(name: str) -> Split | None:
    """Return the split that a name states, without regard to case and affixes; ``None`` without one, or with several.

    Args:
        name: name of a file or folder.

    >>> split_of("TRAIN"), split_of("val_set"), split_of("imagesTs"), split_of("sub-01")
    ('train', 'val', 'test', None)
    """
    stated = {split for word in words(name) for split, pattern in _SPLIT_WORDS.items() if pattern.fullmatch(word)}
    return stated.pop() if len(stated) == 1 else None


def holds_labels(name: str) -> bool:
    """Return whether a folder's name states that its files are labels or derived data, not images.

    Args:
        name: name of the folder.

    >>> holds_labels("labelsTr"), holds_labels("derivatives"), holds_labels("sub-01")
    (True, True, False)
    """
    return any(_LABEL_WORDS.fullmatch(word) for word in words(name))


def split_folders(root: Path, stated: Mapping[Split, Sequence[str]] | None) -> dict[Split, Path]:
    """Return the folder of each split directly below a root.

    Args:
        root: the folder of the data.
        stated: names of the folder of a split, tried in order, which replace the recognition for this split; a mapping
            without entries states that ``root`` has no split folders.

    Returns:
        Folder by split; empty where the subjects of ``root`` are to be divided.

    Raises:
        UserError: several folders state one split, or a folder resembles a split without being recognised.
    """
    if stated is not None and not stated:
        return {}
    found: dict[Split, list[Path]] = {split: [] for split in SPLITS}
    unclear: list[Path] = []
    for folder in _folders(root):
        split = split_of(folder.name)
        if split is not None and not holds_labels(folder.name):
            found[split].append(folder)
        elif split is None and any(_RESEMBLING.fullmatch(word) for word in words(folder.name)):
            unclear.append(folder)
    for split, names in (stated or {}).items():
        found[split] = [root / name for name in names if (root / name).is_dir()][:1]
    _refuse_several(root, found)
    recognised = {split: folders[0] for split, folders in found.items() if folders}
    taken = {folder.resolve() for folder in recognised.values()}
    unclear = [folder for folder in unclear if folder.resolve() not in taken]
    if unclear and len(recognised) < len(SPLITS):
        raise UserError(
            f"{root}: expected folders whose names state a split, got {unclear[0].name!r}, which may be one; "
            f"{_remedy({split: [folder] for split, folder in recognised.items()}, root, unclear)}"
        )
    return recognised


def refuse_hidden_splits(root: Path, paths: Iterable[Path]) -> None:
    """Check that files that are about to be divided by subject are not divided into splits already.

    Args:
        root: the folder of the data, without split folders of its own.
        paths: the volumes below it.

    Raises:
        UserError: names of two splits occur in the paths, as in ``images/train/1.png`` or ``test_01.npy``.
    """
    folders: dict[Split, set[Path]] = {split: set() for split in SPLITS}
    files: dict[Split, Path] = {}
    for path in paths:
        below = path.relative_to(root).parts
        for depth, part in enumerate(below[:-1] if path.is_file() else below):
            if split := split_of(part):
                folders[split].add(root.joinpath(*below[: depth + 1]))
                break
        else:
            if split := split_of(path.stem):
                files.setdefault(split, path)
    stated = {split: sorted(found) for split, found in folders.items() if found}
    if len(stated) > 1:
        raise UserError(
            f"{root}: expected no folders of splits below folders that are divided by subject, got "
            f"{', '.join(repr(_below(found[0], root)) for found in stated.values())}; {_remedy(stated, root)}"
        )
    if len(files) > 1:
        examples = ", ".join(repr(_below(path, root)) for path in files.values())
        raise UserError(
            f"{root}: expected split folders, or names without splits, got {examples}; move the files into folders "
            f"{', '.join(SPLITS)}, or set splits = {{}} to divide all of them by subject"
        )


def _folders(root: Path) -> list[Path]:
    """Return the folders directly below a root in natural order, without hidden ones."""
    folders = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(folders, key=lambda path: natural_key(path.name))


def _refuse_several(root: Path, found: Mapping[Split, Sequence[Path]]) -> None:
    for split, folders in found.items():
        if len(folders) > 1:
            names = " and ".join(repr(folder.name) for folder in folders)
            raise UserError(
                f"{root}: expected one folder for the split {split!r}, got {names}; "
                f"{_remedy({s: f for s, f in found.items() if f}, root)}"
            )


def _remedy(found: Mapping[Split, Sequence[Path]], root: Path, unclear: Sequence[Path] = ()) -> str:
    """Return the option line that states the split folders, with a placeholder for splits that have none."""
    names = {split: _below(folders[0], root) for split, folders in found.items() if folders}
    spare = [_below(folder, root) for folder in unclear]
    for split in SPLITS:
        if split not in names and spare:
            names[split] = next((name for name in spare if name.lower().startswith(split[:2])), "...")
    table = ", ".join(f'{split} = ["{names[split]}"]' for split in SPLITS if split in names)
    return f"set splits = {{ {table} }}, or splits = {{}} if none of them is a split"


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
