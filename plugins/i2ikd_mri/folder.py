"""A folder of files as volumes by split."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import i2ikd
from i2ikd import UserError
from i2ikd.errors import nearest
from i2ikd.natural_order import natural_key
from i2ikd.source import Reader
from i2ikd_mri.readers import candidates, known_suffixes, stem
from i2ikd_mri.readers.image import STACKED
from i2ikd_mri.splits import Entry, divide, hold_out, refuse_straddling
from i2ikd_mri.volumes import SPLITS, Count, PreparedVolume, SliceChoice, Split

_FOLDERS: dict[Split, list[str]] = {"train": ["train"], "val": ["val", "validation"], "test": ["test"]}


class FolderDataset:
    """The volumes below ``root``; nothing is read before ``volumes`` is called, and then no more than names.

    ``root`` has a folder for each split, with files at any depth below it, or files of no split, which are then
    divided by subject. In a folder of its own, below that of the split, every PNG or TIFF file is a slice of one
    volume; any other file is a volume. Hidden files, and files that no reader knows, are passed over.

    Args:
        root: the folder.
        reader: name of a registered reader, or a table of its name and options; ``None`` chooses by the
            files' suffix and, where several fit, the first that can read the first such file.
        size: (height, width) that slices are resampled to through k-space; ``None`` keeps their own.
        normalise: ``volume`` divides a volume by its largest magnitude (of the fully sampled image), which gives
            0..1; ``none`` leaves the values.
        splits: names of the folder of each split, tried in order. A split that is named here replaces its default.
        fractions: shares of the subjects for train, val and test where ``root`` has no folder for any split.
        hold_out: share of the subjects of the split before it (train, val) that a split without a folder (val, test)
            gets. 0: none, and asking for such a split is an error. KD-MRI's own data has no test folder: 0.5 makes
            half of its validation subjects the test split. It has no effect where every split has its folder.
        subject: regular expression that finds the subject in a volume's name, its path below the split's folder
            (``patient\\d+``); a subject is then kept in one split. ``None``: the first part of the path.
        repeated_names: ``refuse`` a volume's name that is in two splits, or take them as ``distinct`` people.
        include: pattern of files below a split's folder (``acc_4x/*``).
        slices: which slices of each volume are used.
        volumes: the most volumes of each split, the first by name, for quick runs.
    """

    def __init__(
        self,
        root: Path,
        reader: str | dict[str, Any] | None = None,
        size: tuple[Count, Count] | None = None,
        normalise: Literal["volume", "none"] = "volume",
        splits: dict[Split, list[str]] | None = None,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        subject: str | None = None,
        repeated_names: Literal["refuse", "distinct"] = "refuse",
        include: str = "**/*",
        slices: SliceChoice | None = None,
        volumes: dict[Split, Count] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        self._reader = {"name": reader} if isinstance(reader, str) else reader
        self._size = size
        self._normalise = normalise
        self._folders = {**_FOLDERS, **(splits or {})}
        self._fractions = fractions
        self._hold_out = hold_out
        self._subject = _checked_expression(subject)
        self._repeated_names = repeated_names
        self._include = _checked_pattern(include)
        self._slices = slices or SliceChoice()
        self._limits = volumes or {}
        self._readers: dict[str, Reader] = {}
        self._entries: dict[str, list[Entry]] | None = None
        self._volumes: dict[str, list[PreparedVolume]] = {}

    def volumes(self, split: str) -> Sequence[PreparedVolume]:
        """Return the volumes of a split in counting order; each call returns the same objects.

        Raises:
            UserError: no such split, no folder for it, or nothing in it that a reader knows.
        """
        if split not in self._volumes:
            self._volumes[split] = [self._prepare(entry) for entry in self._members(split)]
        return self._volumes[split]

    def accepts(self, path: Path) -> bool:
        """Whether ``open`` is meant for ``path``: a file of the reader's, or a folder of nothing but pictures."""
        if path.is_dir():
            files = [file for file in path.iterdir() if not file.name.startswith(".")]
            pictures = [file for file in files if file.is_file() and file.suffix.lower() in STACKED]
            return self._stacks_pictures() and 0 < len(pictures) == len(files)
        return path.is_file() and path.name.lower().endswith(self._suffixes())

    def open(self, path: Path) -> PreparedVolume:
        """Open one file, or folder of pictures, of no split as this dataset opens its own, with all of its slices.

        Raises:
            UserError: no reader knows the file's name, or none can read it.
        """
        path = Path(path)
        if self._reader is None and not path.is_dir() and not candidates(path.name):
            raise UserError(f"{path}: no reader knows such a file; those installed read {' '.join(self._suffixes())}")
        name = path.name if path.is_dir() else stem(path.name)
        return PreparedVolume(self._reader_of(path)(path), name, self._size, self._normalise)

    def identity(self) -> dict[str, object]:
        """Return a digest of the files' relative paths and sizes, and the options; no path is in it.

        Raises:
            UserError: the folder is missing or empty.
        """
        digest = hashlib.sha256()
        for split, entries in self._all_entries().items():
            for entry in entries:
                for path in entry.files():
                    line = f"{split}\t{path.relative_to(self.root).as_posix()}\t{path.stat().st_size}\n"
                    digest.update(line.encode())
        return {
            "dataset": "folder",
            "files": digest.hexdigest(),
            "reader": self._reader,
            "size": list(self._size) if self._size else None,
            "normalise": self._normalise,
            "slices": self._slices.model_dump(),
            "volumes": {split: self._limits[split] for split in sorted(self._limits)},
        }

    def _members(self, split: str) -> list[Entry]:
        if split not in SPLITS:
            raise UserError(f"there is no split {split!r}; {nearest(split, SPLITS)}")
        entries = self._all_entries()
        if split not in entries:
            donor = {"val": "train", "test": "val"}.get(split, "")
            way = f", or hold out part of {donor!r} for it with hold_out = 0.5" if donor in entries else ""
            names = " or ".join(repr(name) for name in self._folders[split])
            raise UserError(
                f"{self.root}: there is no folder for the split {split!r} (looked for {names}); add it, name it with "
                f"the option splits{way}"
            )
        return entries[split][: self._limits.get(split)]

    def _all_entries(self) -> dict[str, list[Entry]]:
        if self._entries is None:
            if not self.root.is_dir():
                raise UserError(f"{self.root}: there is no such folder; set the dataset's root to the data")
            found = {split: self._search(folder) for split, folder in self._split_folders().items()}
            if found:
                entries = hold_out(found, self._hold_out, self._subject, self.root)
            else:
                entries = divide(self._search(self.root), self._fractions, self._subject, self.root)
            if self._repeated_names == "refuse":
                refuse_straddling(entries, self._subject, self.root)
            self._entries = entries
        return self._entries

    def _split_folders(self) -> dict[str, Path]:
        folders = {}
        for split, names in self._folders.items():
            existing = [self.root / name for name in names if (self.root / name).is_dir()]
            if existing:
                folders[str(split)] = existing[0]
        return folders

    def _search(self, folder: Path) -> list[Entry]:
        suffixes = self._suffixes()
        found: set[Path] = set()
        others: list[Path] = []
        for path in sorted(folder.glob(self._include)):
            below = path.relative_to(folder)
            if not path.is_file() or any(part.startswith(".") for part in below.parts):
                continue
            if suffixes and not path.name.lower().endswith(suffixes):
                others.append(path)
            elif self._stacks_pictures() and len(below.parts) > 1 and path.suffix.lower() in STACKED:
                found.add(path.parent)
            else:
                found.add(path)
        if not found:
            seen = f"; it has {others[0].name!r} and the like" if others else ""
            raise UserError(
                f"{folder}: there is no file that the reader knows ({' '.join(suffixes) or 'any'}, "
                f"include = {self._include!r}){seen}"
            )
        entries = [Entry(path, self._name(path, folder)) for path in found]
        return sorted(entries, key=lambda entry: natural_key(entry.name))

    def _name(self, path: Path, folder: Path) -> str:
        below = path.relative_to(folder)
        return (below if path.is_dir() else below.with_name(stem(below.name))).as_posix()

    def _stacks_pictures(self) -> bool:
        return self._reader is None or self._reader.get("name") == "image"

    def _suffixes(self) -> tuple[str, ...]:
        if self._reader is None:
            return tuple(dict.fromkeys(suffix for suffixes in known_suffixes().values() for suffix in suffixes))
        return tuple(getattr(self._named_reader(self._reader), "suffixes", ()))

    def _prepare(self, entry: Entry) -> PreparedVolume:
        name = entry.name
        if self._repeated_names == "distinct":
            name = entry.path.relative_to(self.root).parts[0] + "/" + name
        return PreparedVolume(self._reader_of(entry.path)(entry.path), name, self._size, self._normalise, self._slices)

    def _reader_of(self, path: Path) -> Reader:
        return self._fitting_reader(path) if self._reader is None else self._named_reader(self._reader)

    def _named_reader(self, table: dict[str, Any]) -> Reader:
        name = table.get("name")
        if not isinstance(name, str):
            raise UserError(f"reader = {table}: the table has no name; write reader = {{ name = 'nifti', axis = 2 }}")
        if name not in self._readers:
            options = {key: value for key, value in table.items() if key != "name"}
            target = i2ikd.get("reader", name)
            known = inspect.signature(target).parameters
            if "path" not in known:
                self._readers[name] = i2ikd.create("reader", name, **options)
            elif unknown := sorted(set(options) - set(known)):
                raise UserError(f"reader {name!r}: unknown option {unknown[0]!r}; {nearest(unknown[0], known)}")
            else:
                self._readers[name] = partial(target, **options)
        return self._readers[name]

    def _fitting_reader(self, path: Path) -> Reader:
        """Choose once for each suffix; where several readers fit, the first that can read this file."""
        names = ["image"] if path.is_dir() else candidates(path.name)
        suffix = path.name[len(stem(path.name)) :].lower()
        if suffix not in self._readers:
            self._readers[suffix] = self._first_that_reads(names, path)
        return self._readers[suffix]

    def _first_that_reads(self, names: list[str], path: Path) -> Reader:
        readers = [self._named_reader({"name": name}) for name in names]
        problems = []
        for reader in readers if len(readers) > 1 else []:
            try:
                len(reader(path))
            except UserError as error:
                problems.append(error)
            else:
                return reader
        if problems:
            raise problems[0]
        return readers[0]


def _checked_pattern(include: str) -> str:
    if not include or Path(include).is_absolute() or ".." in Path(include).parts:
        raise UserError(f"include = {include!r}: it should be a pattern below a split's folder, such as 'acc_4x/*'")
    return include


def _checked_expression(subject: str | None) -> str | None:
    try:
        re.compile(subject or "")
    except re.error as error:
        raise UserError(f"subject = {subject!r}: it is no regular expression: {error}") from None
    return subject
