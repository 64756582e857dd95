"""Output folder of a comparison: its experiment, and a lock that admits one process at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from i2ikd.config import Experiment
from i2ikd.errors import UserError
from i2ikd.files import read_json, write_atomically

_MARK = "experiment.json"
"""File that identifies the experiment of a folder."""


def refuse_foreign(out: Path, experiment: Experiment) -> None:
    """Check that a folder can be the output folder of an experiment, without writing.

    Args:
        out: the folder, which may not exist.
        experiment: the experiment.

    Raises:
        UserError: the folder belongs to another experiment, or contains other files.
    """
    mark = out / _MARK
    if mark.is_file():
        owner = read_owner(out).get("name")
        if owner != experiment.name:
            raise UserError(
                f"{out} belongs to the experiment {owner!r}, not to {experiment.name!r}; pass another --out folder"
            )
    elif out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out names a folder")
    elif out.is_dir() and any(entry.name != ".lock" for entry in out.iterdir()):
        raise UserError(
            f"{out}: expected a comparison or an empty folder, got other files; pass a new or empty --out folder"
        )


def claim(out: Path, experiment: Experiment) -> None:
    """Create the output folder of an experiment, or update the experiment stored in it.

    Settings may change between calls, and affected runs are trained again; the name may not change.

    Args:
        out: the folder, which may not exist.
        experiment: the experiment.

    Raises:
        UserError: the folder belongs to another experiment, contains other files, or is not writable.
    """
    refuse_foreign(out, experiment)
    _make(out)
    content = experiment.model_dump(mode="json", exclude_unset=True)
    write_atomically(out / _MARK, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _make(out: Path) -> None:
    """Create a folder and its parents."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}") from None


def is_owned(folder: Path) -> bool:
    """Whether a folder is the output folder of an experiment.

    Args:
        folder: the folder.
    """
    return (folder / _MARK).is_file()


def read_owner(out: Path) -> dict[str, Any]:
    """Return the experiment that is stored in an output folder, as JSON values by key.

    Args:
        out: the folder.

    Raises:
        UserError: the folder contains no experiment.
    """
    mark = out / _MARK
    if not mark.is_file():
        raise UserError(f"{out} is no folder of a comparison: it has no {_MARK}")
    content = read_json(mark)
    if not isinstance(content, dict):
        raise UserError(f"{mark} holds no experiment; put back the one that belongs there, or pass another folder")
    return content


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock an output folder for this process; the operating system releases the lock when the process ends.

    Args:
        out: the folder, which is created.

    Raises:
        UserError: another process has locked the folder.
    """
    _make(out)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another i2ikd works in {out}; wait for it, or pass another --out folder") from None
    try:
        yield
    finally:
        lock.release()
