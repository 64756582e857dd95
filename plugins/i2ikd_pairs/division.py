"""Splits of a data set: stated ones, or subjects divided by name; no subject and no file is in two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from i2ikd import PassedOver, UserError
from i2ikd.split_names import SPLITS, Split
from i2ikd.subjects import divide_subjects, refuse_parts_of_subjects
from i2ikd_pairs.folders import list_folders
from i2ikd_pairs.pair import Listing, Pair
from i2ikd_pairs.tables import list_csv, list_hdf5

HDF5 = (".h5", ".hdf5")
UNLABELLED = "unlabelled"
"""Split of training inputs without a target."""


@dataclass(frozen=True)
class DataOptions:
    """Options of the data of a task; see ``Pairs``.

    Attributes:
        root: folder, CSV file or HDF5 file.
        sides: names of inputs and targets: folders, columns or data sets.
        splits: names of the folders of each split.
        fractions: shares of the subjects for train, val and test.
        subject: regular expression of the subject in a name.
        repeated_names: whether subjects of one name in two splits are refused or distinct.
        unlabelled: whether inputs without a target are used.
    """

    root: Path
    sides: tuple[str, str]
    splits: Mapping[Split, Sequence[str]] | None
    fractions: tuple[float, float, float]
    subject: str | None
    repeated_names: Literal["refuse", "distinct"]
    unlabelled: bool


def divided(options: DataOptions) -> Listing:
    """Return the pairs of each split, and inputs without a target as ``unlabelled``.

    Args:
        options: of the data.

    Raises:
        UserError: data that is missing or ambiguous, a split without pairs, or a subject in two splits.
    """
    listing = _listed(options)
    if "" in listing.splits:
        whole = listing.splits.pop("")
        if options.subject is None:
            refuse_parts_of_subjects((pair.subject for pair in whole), options.root)
        parts = divide_subjects((pair.subject for pair in whole), options.fractions, options.root)
        listing.splits = {split: [pair for pair in whole if pair.subject in parts[split]] for split in SPLITS}
        shares = "/".join(f"{share:g}" for share in options.fractions)
        listing.division += f": divided by subject, {shares} for train/val/test"
    elif options.repeated_names == "distinct":
        listing.splits = {split: [pair.renamed(split) for pair in pairs] for split, pairs in listing.splits.items()}
    _set_unlabelled_apart(listing, options)
    for split in SPLITS:
        if not listing.splits.get(split):
            raise UserError(
                f"{options.root}: expected pairs in the split {split!r}, got none; add them, or set splits = {{}} to "
                "divide all of them by subject"
            )
    _refuse_straddling(listing.splits, options.root)
    return listing


def _listed(options: DataOptions) -> Listing:
    root = options.root
    if not root.exists():
        raise UserError(f"{root}: no such file or folder; set task.root to the data")
    if root.is_dir():
        return list_folders(root, options.sides, options.splits, options.subject)
    if root.suffix.lower() == ".csv":
        return list_csv(root, options.sides, options.subject)
    if root.suffix.lower() in HDF5:
        return list_hdf5(root, options.sides, options.subject)
    raise UserError(f"{root}: expected a folder, a CSV file, or an HDF5 file ({' '.join(HDF5)})")


def _set_unlabelled_apart(listing: Listing, options: DataOptions) -> None:
    """Move inputs without a target out of the splits: those of training are unlabelled, others are passed over."""
    for split in SPLITS:
        alone = [pair for pair in listing.splits.get(split, ()) if pair.target is None]
        if not alone:
            continue
        if not options.unlabelled:
            raise UserError(
                f"{alone[0].input}: expected a target of this name, got none ({len(alone)} inputs of {split!r} have "
                "none); give input and target of a pair one name, or set unlabelled = true to use inputs without target"
            )
        listing.splits[split] = [pair for pair in listing.splits[split] if pair.target is not None]
        use = f"without a target: the split {UNLABELLED!r}" if split == "train" else f"without a target, in {split!r}"
        listing.passed_over.append(PassedOver(use, len(alone), alone[0].name))
        if split == "train":
            listing.splits[UNLABELLED] = alone


def _refuse_straddling(splits: Mapping[str, Sequence[Pair]], root: Path) -> None:
    seen: dict[str, tuple[str, Pair]] = {}
    for split, pairs in splits.items():
        group = "train" if split == UNLABELLED else split
        for pair in pairs:
            other, first = seen.setdefault(pair.subject, (group, pair))
            if other != group:
                raise UserError(
                    f"{root}: {pair.subject!r} is in both {other!r} and {group!r} ({first.input} and {pair.input}); a "
                    "subject belongs to one split: remove one, or set repeated_names = 'distinct' if they are "
                    "different subjects"
                )
