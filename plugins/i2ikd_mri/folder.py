"""Dataset of the volumes in a folder, by split."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt

from i2ikd import FileSummary, PassedOver, Registry, UserError, Volume, default_registry
from i2ikd.errors import nearest, printable
from i2ikd.file_facts import FileFacts
from i2ikd.natural_order import natural_key
from i2ikd.split_names import holds_labels, refuse_hidden_splits, split_folders
from i2ikd_mri.ambiguities import (
    refuse_common_stems,
    refuse_equal_names,
    refuse_same_files,
    refuse_several_formats,
    refuse_several_images,
)
from i2ikd_mri.intensities import Intensities
from i2ikd_mri.listing import ALL_FILES, LABELS, NO_SUFFIX, Listing, list_files
from i2ikd_mri.reader_choice import ReaderChoice
from i2ikd_mri.readers import candidates
from i2ikd_mri.splits import Entry, divide, hold_out, refuse_straddling
from i2ikd_mri.stacks import SelectedStack, in_order, is_picture, is_series, is_stack, refuse_part_of_series
from i2ikd_mri.volumes import SPLITS, PreparedVolume, SliceChoice, Split


class FolderDataset:
    r"""Volumes in the files below ``root``; only file names are read before the first slice.

    ``root`` holds a folder for each split, recognised by the words of its name (``train``, ``Training``, ``val_set``,
    ``imagesTs``), with files at any depth, or files without split folders, which are divided by subject. In a subfolder
    of a split's folder, the PNG and TIFF files are the slices of one volume; any other file is a volume. Symbolic links
    are followed. Hidden files, files without a suffix of a reader, and folders of labels and derived data are passed
    over and counted. What is ambiguous is refused, with the option that resolves it.

    Args:
        root: path of the folder; ``~`` is expanded.
        reader: name of a registered reader, or a table of its name and options; ``None``: selected by the suffix of the
            files and, where several readers have it, the first that can read the first such file.
        size: (height, width) in pixels that slices are resampled to through k-space; ``None``: the stored size.
        normalise: ``volume`` divides a volume by its largest magnitude (of the fully sampled image; of the zero-filled
            image of k-space alone), so that values are in 0..1; ``none`` keeps the stored values.
        splits: names of the folder of each split, tried in order, which replace the recognition for that split; ``{}``:
            ``root`` has no split folders, whatever its folders are named.
        fractions: shares of the subjects for train, val and test where ``root`` has no folder for any split; they sum
            to 1.
        hold_out: share, 0..1, of the subjects of the preceding split (train, val) that a split without a folder (val,
            test) receives. 0: none, so that such a split raises an error. KD-MRI's data has no test folder: 0.5 moves
            half of its validation subjects to the test split. Without effect where every split has a folder.
        subject: regular expression that matches the subject in the name of a volume, its path below the split's folder
            (``patient\d+``). ``None``, or no match: the first part of the path; without the option, names that seem to
            be parts of one subject (``patient01_slice000``) are refused. A subject is in one split only, and statistics
            resample subjects, each with all of its volumes.
        repeated_names: ``refuse`` raises an error for a volume name that is in two splits; ``distinct`` treats the two
            volumes as different subjects.
        include: glob pattern of files below a split's folder (``acc_4x/*``), whose files have to be of one format and
            one kind of image a subject; or a list of patterns, which states that all of their files are wanted.
        slices: selection of slices of each volume.
        volumes: greatest number of volumes of a split, the first by name, for quick runs.
        empty: ``skip`` leaves out selected slices that are all zero, and counts them; ``refuse`` raises an error when
            such a slice is used. To skip, every volume is read once, before training; what was found is kept in the
            user's cache while the file is unchanged.
        conventions: ``check`` refuses volumes whose axes look swapped, and k-space that is read as image; ``trust``
            accepts them.
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
        include: str | list[str] = ALL_FILES,
        slices: SliceChoice | None = None,
        volumes: dict[Split, PositiveInt] | None = None,
        empty: Literal["skip", "refuse"] = "skip",
        conventions: Literal["check", "trust"] = "check",
        registry: Registry | None = None,
    ) -> None:
        self._registry = default_registry() if registry is None else registry
        self.root = Path(root).expanduser()
        self._choice = ReaderChoice(reader, self._registry)
        self._size = size
        self._normalise = normalise
        self._folders = splits
        self._fractions = fractions
        self._hold_out = hold_out
        self._subject = _checked_expression(subject)
        self._repeated_names = repeated_names
        self._include = _checked_patterns(include)
        self._slices = slices or SliceChoice()
        self._limits = volumes or {}
        self._empty = empty
        self._check_conventions = conventions == "check"
        self._facts = FileFacts(self.root)
        self.listings: dict[Path, Listing] = {}
        self._division = ""
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
            path: a file, accepted by its suffix, or a folder, accepted if it is one volume: it holds PNG and TIFF files
                of one kind of name, or DICOM files, and nothing else that can be read.

        Raises:
            UserError: several pictures are beside files of another format, or beside folders with files that can be
                read.
        """
        if path.is_dir():
            suffixes = self._choice.suffixes
            return bool(self._choice.stacked) and (is_stack(path, suffixes, self._subject) or is_series(path, suffixes))
        return path.is_file() and path.name.lower().endswith(self._choice.suffixes)

    def open(self, path: Path) -> PreparedVolume:
        """Open one file with the reader, size and scale of this dataset, and all of its slices.

        Args:
            path: a file, or a folder whose PNG and TIFF files are the slices of one volume.

        Raises:
            UserError: no reader has the suffix of the file, or none can read it.
        """
        path = Path(path)
        if self._choice.table is None and not path.is_dir() and not candidates(path.name, self._registry):
            known = " ".join(self._choice.suffixes)
            raise UserError(f"{path}: no reader for this suffix; installed readers read {known}")
        name = path.name if path.is_dir() else self._choice.stem(path.name)
        table = self._choice.table_of_new_data(path)
        return PreparedVolume(
            self._choice.named(table)(path),
            name,
            self._size,
            self._normalise,
            check_conventions=self._check_conventions,
            reader=table,
        )

    def identity(self) -> dict[str, object]:
        """Return the options and a digest of the content of the training and validation files.

        Both are part of the digest of every run. Names of volumes are included without the paths of the split folders,
        and subjects are not: they change statistics and no weights.

        Raises:
            UserError: the folder is missing, empty or ambiguous, or a file cannot be read.
        """
        return {
            "dataset": "folder",
            "files": self._digest("train", "val"),
            "reader": self._choice.table,
            "size": list(self._size) if self._size else None,
            "normalise": self._normalise,
            "slices": self._slices.model_dump(),
            "empty": self._empty,
        }

    def test_identity(self) -> dict[str, object]:
        """Return a digest of the content of the test files, which scores depend on, and no run.

        Raises:
            UserError: a file cannot be read.
        """
        return {"files": self._digest("test")}

    def file_summary(self) -> FileSummary:
        """Return the number of files by format, the division into splits, and what was passed over.

        Raises:
            UserError: the folder is missing, empty or ambiguous.
        """
        splits = self._all_entries()
        files = [path for entries in splits.values() for entry in entries for path in entry.files()]
        formats = Counter(path.name[len(self._choice.stem(path.name)) :].lower() for path in files)
        read = {path for entries in splits.values() for entry in entries for path in entry.content()}
        reasons: dict[str, list[str]] = {}
        for listing in self.listings.values():
            for reason, paths in listing.passed_over.items():
                if left := [path.relative_to(self.root).as_posix() for path in paths if path not in read]:
                    reasons.setdefault(reason, []).extend(left)
        limits = "".join(f"; the first {number} of {split}" for split, number in self._limits.items())
        return FileSummary(
            dict(formats.most_common()),
            self._division + limits,
            [PassedOver(reason, len(paths), paths[0]) for reason, paths in sorted(reasons.items())],
        )

    def _digest(self, *splits: Split) -> str:
        entries = [
            (split, entry)
            for split in splits
            for entry in self._all_entries().get(split, [])[: self._limits.get(split)]
        ]
        digests = self._facts.digests([entry.content() for _, entry in entries])
        lines = [f"{split}\t{self._named(entry)[0]}\t{digest}\n" for (split, entry), digest in zip(entries, digests)]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def _members(self, split: str) -> list[Entry]:
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}; {nearest(split, SPLITS)}")
        entries = self._all_entries()
        if split not in entries:
            donor = {"val": "train", "test": "val"}.get(split, "")
            remedy = f", or hold out part of {donor!r} for it with hold_out = 0.5" if donor in entries else ""
            names = " or ".join(repr(name) for name in (self._folders or {}).get(split) or [split])
            raise UserError(
                f"{self.root}: no folder for the split {split!r}; expected {names}; add it, name it with the option "
                f"splits{remedy}"
            )
        return entries[split][: self._limits.get(split)]

    def _all_entries(self) -> dict[str, list[Entry]]:
        if self._entries is None:
            if not self.root.is_dir():
                raise UserError(f"{self.root}: no such folder; set the dataset option root to the folder of the data")
            self._entries = self._by_folder(split_folders(self.root, self._folders)) or self._by_subject()
            if self._repeated_names == "refuse":
                refuse_straddling(self._entries, self._subject, self.root)
        return self._entries

    def _by_folder(self, folders: Mapping[Split, Path]) -> dict[str, list[Entry]]:
        """List the volumes of the split folders, and hold out those of splits without a folder."""
        found = {str(split): self._search(folder) for split, folder in folders.items()}
        self._check(found)
        if self._repeated_names == "refuse":
            refuse_same_files(found, self.root)
        if not found:
            return {}
        self._pass_over_beside(folders.values())
        divided = hold_out(found, self._hold_out, self._subject, self.root)
        named = [f"{split} is {folder.relative_to(self.root).as_posix()}/" for split, folder in folders.items()]
        held = [f"{split} is held out by subject" for split in divided if split not in found]
        self._division = "divided by folder: " + ", ".join([*named, *held])
        return divided

    def _pass_over_beside(self, folders: Iterable[Path]) -> None:
        """Record what is in ``root`` beside the split folders."""
        beside = Listing()
        tops = {folder.relative_to(self.root).parts[0] for folder in folders}
        for path in sorted(self.root.iterdir()):
            if path.name not in tops:
                labels = path.is_dir() and holds_labels(path.name)
                beside.pass_over(path, LABELS if labels else "beside the folders of the splits")
        self.listings[self.root] = beside

    def _by_subject(self) -> dict[str, list[Entry]]:
        """List the volumes of a folder without split folders, and divide them by subject."""
        found = self._search(self.root)
        if self._folders is None:
            refuse_hidden_splits(self.root, [entry.path for entry in found])
        self._check({"": found})
        shares = "/".join(f"{share:g}" for share in self._fractions)
        self._division = f"no split folders: divided by subject, {shares} for train/val/test"
        return divide(found, self._fractions, self._subject, self.root)

    def _check(self, found: Mapping[str, Sequence[Entry]]) -> None:
        """Refuse what is ambiguous; a list of patterns states that all of their files are wanted."""
        if isinstance(self._include, str):
            refuse_several_formats(found, self.root)
            refuse_several_images(found, self._subject, self.root)
        if self._subject is None:
            refuse_common_stems(found, self.root)

    def _search(self, folder: Path) -> list[Entry]:
        """List the volumes below a folder in natural order of their names."""
        suffixes = self._choice.suffixes
        include = [self._include] if isinstance(self._include, str) else self._include
        listing = list_files(folder, include, suffixes)
        self.listings[folder] = listing
        stacks: dict[Path, list[Path]] = {}
        entries = []
        for path in listing.files:
            if path.parent != folder and path.name.lower().endswith(self._choice.stacked):
                stacks.setdefault(path.parent, []).append(path)
            else:
                entries.append(Entry(path, self._name(path, folder)))
        entries += [Entry(path, self._name(path, folder), in_order(files)) for path, files in stacks.items()]
        if not entries:
            ignored = listing.passed_over.get(NO_SUFFIX)
            example = f"; got {ignored[0].name!r}" if ignored else ""
            raise UserError(
                f"{folder}: no file for the reader; expected a suffix of {' '.join(suffixes) or '(any)'} and "
                f"include = {self._include!r}{example}"
            )
        refuse_equal_names(entries, folder)
        return sorted(entries, key=lambda entry: natural_key(entry.name))

    def _name(self, path: Path, folder: Path) -> str:
        below = path.relative_to(folder)
        return (below if path.is_dir() else below.with_name(self._choice.stem(below.name))).as_posix()

    def _prepare(self, entry: Entry) -> PreparedVolume:
        name, subject = self._named(entry)
        reader = self._choice.of(entry.path)
        if entry.slices and is_picture(entry.slices[0]):
            stored: Volume = SelectedStack(entry.path, entry.slices)
        else:
            refuse_part_of_series(entry)
            stored = reader(entry.path)
        kind = f"{type(stored).__module__}.{type(stored).__qualname__}"
        options = [kind, self._choice.table, self._normalise, self._slices.model_dump()]
        known = _Known(self._facts, f"intensities 2 {json.dumps(options, sort_keys=True)}", entry.content())
        skip = self._empty == "skip"
        return PreparedVolume(
            stored,
            name,
            self._size,
            self._normalise,
            self._slices,
            subject,
            skip,
            known,
            self._check_conventions,
            self._choice.table_of(entry.path),
        )

    def _named(self, entry: Entry) -> tuple[str, str]:
        """Return name and subject of a volume."""
        name, subject = printable(entry.name), printable(entry.subject(self._subject))
        if self._repeated_names == "distinct":
            folder = entry.path.relative_to(self.root).parts[0]
            name, subject = f"{printable(folder)}/{name}", f"{printable(folder)}/{subject}"
        return name, subject


class _Known:
    """Kept properties of one volume of a folder."""

    def __init__(self, facts: FileFacts, key: str, files: Sequence[Path]) -> None:
        self._facts = facts
        self._key = key
        self._files = files

    def load(self) -> Intensities | None:
        values = self._facts.get(self._key, self._files)
        if values is None or values["largest"] is None:  # earlier versions kept None for k-space alone
            return None
        return Intensities.from_json(values)

    def keep(self, intensities: Intensities) -> None:
        self._facts.put(self._key, self._files, intensities.as_json())


def _checked_patterns(include: str | list[str]) -> str | list[str]:
    for pattern in [include] if isinstance(include, str) else include or [""]:
        if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise UserError(f"include = {pattern!r}: expected a pattern below a split's folder, such as 'acc_4x/*'")
    return include


def _checked_expression(subject: str | None) -> str | None:
    try:
        re.compile(subject or "")
    except re.error as error:
        raise UserError(f"subject = {subject!r}: expected a regular expression: {error}") from None
    return subject
