"""Dataset of the volumes in a folder, by split."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from i2ikd import Registry, UserError, default_registry
from i2ikd.errors import nearest
from i2ikd.natural_order import natural_key
from i2ikd.source import Reader
from i2ikd_mri.readers import SUFFIXES, candidates, known_suffixes, refused_by_all, stem
from i2ikd_mri.readers.image import STACKED
from i2ikd_mri.splits import Entry, divide, hold_out, refuse_straddling
from i2ikd_mri.volumes import SPLITS, PreparedVolume, SliceChoice, Split

_FOLDERS: dict[Split, list[str]] = {"train": ["train"], "val": ["val", "validation"], "test": ["test"]}


class FolderDataset:
    r"""Volumes in the files below ``root``; only file names are read before the first slice.

    ``root`` holds a folder for each split, with files at any depth, or files without split folders, which are divided
    by subject. In a subfolder of a split's folder, the PNG and TIFF files are the slices of one volume; any other file
    is a volume. Hidden files and files without a suffix of a reader are ignored.

    Args:
        root: path of the folder; ``~`` is expanded.
        reader: name of a registered reader, or a table of its name and options; ``None``: selected by the suffix of the
            files and, where several readers have it, the first that can read the first such file.
        size: (height, width) in pixels that slices are resampled to through k-space; ``None``: the stored size.
        normalise: ``volume`` divides a volume by its largest magnitude (of the fully sampled image), so that values are
            in 0..1; ``none`` keeps the stored values.
        splits: names of the folder of each split, tried in order; they replace the default names of that split.
        fractions: shares of the subjects for train, val and test where ``root`` has no folder for any split; they sum
            to 1.
        hold_out: share, 0..1, of the subjects of the preceding split (train, val) that a split without a folder (val,
            test) receives. 0: none, so that such a split raises an error. KD-MRI's data has no test folder: 0.5 moves
            half of its validation subjects to the test split. Without effect where every split has a folder.
        subject: regular expression that matches the subject in the name of a volume, its path below the split's folder
            (``patient\d+``). ``None``, or no match: the first part of the path. A subject is in one split only, and
            statistics resample subjects, each with all of its volumes.
        repeated_names: ``refuse`` raises an error for a volume name that is in two splits; ``distinct`` treats the two
            volumes as different subjects.
        include: glob pattern of files below a split's folder (``acc_4x/*``).
        slices: selection of slices of each volume.
        volumes: greatest number of volumes of a split, the first by name, for quick runs.
        registry: contains the readers; ``None``: the default registry of the process.

    Raises:
        UserError: ``subject`` is no regular expression, or ``include`` leaves the folder.
    """

    def __init__(
        self,
        root: Path,
        reader: str | dict[str, Any] | None = None,
        size: tuple[PositiveInt, PositiveInt] | None = None,
        normalise: Literal["volume", "none"] = "volume",
        splits: dict[Split, list[str]] | None = None,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        hold_out: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        subject: str | None = None,
        repeated_names: Literal["refuse", "distinct"] = "refuse",
        include: str = "**/*",
        slices: SliceChoice | None = None,
        volumes: dict[Split, PositiveInt] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._registry = default_registry() if registry is None else registry
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
        """Return the volumes of a split in natural order of their names; each call returns the same objects.

        Args:
            split: ``train``, ``val`` or ``test``.

        Raises:
            UserError: the split does not exist, has no folder, or its folder has no file with a suffix of a reader.
        """
        if split not in self._volumes:
            self._volumes[split] = [self._prepare(entry) for entry in self._members(split)]
        return self._volumes[split]

    def accepts(self, path: Path) -> bool:
        """Whether ``open`` accepts a path.

        Args:
            path: a file, accepted by its suffix, or a folder, accepted if it holds PNG and TIFF files only.
        """
        if path.is_dir():
            files = [file for file in path.iterdir() if not file.name.startswith(".")]
            pictures = [file for file in files if file.is_file() and file.suffix.lower() in self._stacked()]
            return 0 < len(pictures) == len(files)
        return path.is_file() and path.name.lower().endswith(self._suffixes())

    def open(self, path: Path) -> PreparedVolume:
        """Open one file with the reader, size and scale of this dataset, and all of its slices.

        Args:
            path: a file, or a folder whose PNG and TIFF files are the slices of one volume.

        Raises:
            UserError: no reader has the suffix of the file, or none can read it.
        """
        path = Path(path)
        if self._reader is None and not path.is_dir() and not candidates(path.name, self._registry):
            raise UserError(f"{path}: no reader for this suffix; installed readers read {' '.join(self._suffixes())}")
        name = path.name if path.is_dir() else stem(path.name, self._registry)
        return PreparedVolume(self._reader_of(path)(path), name, self._size, self._normalise)

    def identity(self) -> dict[str, object]:
        """Return the options and a digest of the relative paths and sizes of the files; part of the digest of a run.

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
            raise UserError(f"unknown split {split!r}; {nearest(split, SPLITS)}")
        entries = self._all_entries()
        if split not in entries:
            donor = {"val": "train", "test": "val"}.get(split, "")
            remedy = f", or hold out part of {donor!r} for it with hold_out = 0.5" if donor in entries else ""
            names = " or ".join(repr(name) for name in self._folders[split])
            raise UserError(
                f"{self.root}: no folder for the split {split!r}; expected {names}; add it, name it with the option "
                f"splits{remedy}"
            )
        return entries[split][: self._limits.get(split)]

    def _all_entries(self) -> dict[str, list[Entry]]:
        if self._entries is None:
            if not self.root.is_dir():
                raise UserError(f"{self.root}: no such folder; set the dataset option root to the folder of the data")
            by_folder = {split: self._search(folder) for split, folder in self._split_folders().items()}
            if by_folder:
                entries = hold_out(by_folder, self._hold_out, self._subject, self.root)
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
        """List the volumes below a folder in natural order of their names."""
        suffixes = self._suffixes()
        paths: set[Path] = set()
        ignored: list[Path] = []
        for path in sorted(folder.glob(self._include)):
            below = path.relative_to(folder)
            if not path.is_file() or any(part.startswith(".") for part in below.parts):
                continue
            if suffixes and not path.name.lower().endswith(suffixes):
                ignored.append(path)
            elif len(below.parts) > 1 and path.suffix.lower() in self._stacked():
                paths.add(path.parent)
            else:
                paths.add(path)
        if not paths:
            example = f"; got {ignored[0].name!r}" if ignored else ""
            raise UserError(
                f"{folder}: no file for the reader; expected a suffix of {' '.join(suffixes) or '(any)'} and "
                f"include = {self._include!r}{example}"
            )
        entries = [Entry(path, self._name(path, folder)) for path in paths]
        return sorted(entries, key=lambda entry: natural_key(entry.name))

    def _name(self, path: Path, folder: Path) -> str:
        below = path.relative_to(folder)
        return (below if path.is_dir() else below.with_name(stem(below.name, self._registry))).as_posix()

    def _stacked(self) -> tuple[str, ...]:
        """Return the suffixes of files that are slices of one volume if they are in a subfolder."""
        by_reader = {"image": STACKED, "dicom": SUFFIXES["dicom"]}
        if self._reader is None:
            return tuple(suffix for suffixes in by_reader.values() for suffix in suffixes)
        return by_reader.get(str(self._reader.get("name")), ())

    def _suffixes(self) -> tuple[str, ...]:
        if self._reader is None:
            return tuple(
                dict.fromkeys(suffix for suffixes in known_suffixes(self._registry).values() for suffix in suffixes)
            )
        return tuple(getattr(self._named_reader(self._reader), "suffixes", ()))

    def _prepare(self, entry: Entry) -> PreparedVolume:
        name, subject = entry.name, entry.subject(self._subject)
        if self._repeated_names == "distinct":
            folder = entry.path.relative_to(self.root).parts[0]
            name, subject = f"{folder}/{name}", f"{folder}/{subject}"
        stored = self._reader_of(entry.path)(entry.path)
        return PreparedVolume(stored, name, self._size, self._normalise, self._slices, subject)

    def _reader_of(self, path: Path) -> Reader:
        return self._fitting_reader(path) if self._reader is None else self._named_reader(self._reader)

    def _named_reader(self, table: dict[str, Any]) -> Reader:
        name = table.get("name")
        if not isinstance(name, str):
            raise UserError(f"reader = {table}: the table has no name; set reader = {{ name = 'nifti', axis = 2 }}")
        if name not in self._readers:
            options = {key: value for key, value in table.items() if key != "name"}
            target = self._registry.get("reader", name).resolve()
            accepted = inspect.signature(target).parameters
            if "path" not in accepted:
                self._readers[name] = self._registry.create("reader", name, options)
            elif unknown := sorted(set(options) - set(accepted)):
                raise UserError(f"reader {name!r}: unknown option {unknown[0]!r}; {nearest(unknown[0], accepted)}")
            else:
                self._readers[name] = partial(target, **options)
        return self._readers[name]

    def _fitting_reader(self, path: Path) -> Reader:
        """Select one reader for each suffix: of several, the first that can read this file."""
        if path.is_dir():
            dicom = any(file.suffix.lower() in SUFFIXES["dicom"] for file in path.iterdir())
            return self._named_reader({"name": "dicom" if dicom else "image"})
        names = candidates(path.name, self._registry)
        suffix = path.name[len(stem(path.name, self._registry)) :].lower()
        if suffix not in self._readers:
            self._readers[suffix] = self._first_that_reads(names, path)
        return self._readers[suffix]

    def _first_that_reads(self, names: list[str], path: Path) -> Reader:
        readers = [self._named_reader({"name": name}) for name in names]
        problems: dict[str, UserError] = {}
        for name, reader in zip(names, readers) if len(readers) > 1 else ():
            try:
                len(reader(path))
            except UserError as error:
                problems[name] = error
            else:
                return reader
        if problems:
            raise refused_by_all(path, problems)
        return readers[0]


def _checked_pattern(include: str) -> str:
    if not include or Path(include).is_absolute() or ".." in Path(include).parts:
        raise UserError(f"include = {include!r}: expected a pattern below a split's folder, such as 'acc_4x/*'")
    return include


def _checked_expression(subject: str | None) -> str | None:
    try:
        re.compile(subject or "")
    except re.error as error:
        raise UserError(f"subject = {subject!r}: expected a regular expression: {error}") from None
    return subject
