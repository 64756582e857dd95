"""Settings of the task for a folder of data, from the form of its first training pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from i2ikd_pairs.division import DataOptions, divided
from i2ikd_pairs.forms import Form, colours

_SIDES = ("input", "target")
_SMALL = 96
"""Largest side, in pixels, of images that are used whole."""
_PATCH = 64


def proposal_of(folder: Path) -> Mapping[str, tuple[Any, str]] | None:
    """Return settings of ``[task]`` with their reasons by key; ``None`` without inputs and targets.

    A value of ``None`` removes the key.

    Args:
        folder: folder, CSV or HDF5 file.

    Raises:
        UserError: pairs that are missing or ambiguous.
    """
    if folder.is_dir() and not _has_sides(folder):
        return None
    if not folder.is_dir() and folder.suffix not in (".csv", ".h5", ".hdf5"):
        return None
    pair = divided(DataOptions(folder, _SIDES, None, (0.8, 0.1, 0.1), None, "refuse", False)).splits["train"][0]
    source = Form.of(pair.input.read(None))
    target = source if pair.target is None else Form.of(pair.target.read(None))
    settings: dict[str, tuple[Any, str]] = {
        "root": (str(folder), "as stated"),
        "channels": (source.channels, f"inputs are {colours(source.channels)}"),
    }
    if target.channels != source.channels:
        settings["target_channels"] = (target.channels, f"targets are {colours(target.channels)}")
    if target.height != source.height and target.height % source.height == 0:
        settings["scale"] = (target.height // source.height, f"{source.height} rows become {target.height}")
    if not source.dtype.startswith("uint") and (source.low < 0 or source.high > 1):
        low, high = min(source.low, target.low), max(source.high, target.high)
        settings["value_range"] = ([low, high], f"of {pair.name}; state the range of all files")
    small = source.height == source.width <= _SMALL  # rotations by 90 degrees need squares
    side = min(_PATCH, source.height, source.width)
    settings["patch"] = (
        (None, "") if small else ([side, side], f"of {source.height} x {source.width}: equal shapes, short steps")
    )
    settings["patches"] = (None, "") if small else (4, "of each image in an epoch")
    return settings


def _has_sides(folder: Path) -> bool:
    """Return whether a folder, or a folder in it, holds ``input`` and ``target``."""
    places = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    inner = {place.name for place in places[1:]}
    return any(all((place / side).is_dir() for side in _SIDES) for place in places) or set(_SIDES) <= inner
