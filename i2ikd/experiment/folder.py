"""Output folder of a comparison: its experiment, and a lock that admits one process at a time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from i2ikd.config import Experiment
from i2ikd.engine.output_manifest import NAME as MANIFEST
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.teacher_cache import locks
from i2ikd.errors import UserError
from i2ikd.files import read_json, write_atomically
from i2ikd.temporary_files import is_temporary

MARK = "experiment.json"
"""File that identifies the experiment of a folder."""


def refuse_foreign(out: Path, experiment: Experiment) -> None:
    """Check that a folder can be the output folder of an experiment, without writing.

    Args:
        out: the folder, which may not exist.
        experiment: the experiment.

    Raises:
        UserError: the folder belongs to another experiment, or contains other files.
    """
    mark = out / MARK
    if mark.is_file() or (out / MANIFEST).is_file():
        owner = _owner_name(out)
        if owner != experiment.name:
            raise UserError(
                f"{out} belongs to the experiment {owner!r}, not to {experiment.name!r}; pass another output folder"
            )
    elif out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; expected the path of an output folder")
    elif out.is_dir() and any(not _is_passing(entry.name) for entry in out.iterdir()):
        raise UserError(f"{out}: expected a comparison or an empty folder, got other files; pass a new or empty folder")


def _is_passing(name: str) -> bool:
    """Whether a file is of a start that ended before the experiment was stored: the lock, or a temporary file."""
    return name == ".lock" or is_temporary(name)


def _owner_name(out: Path) -> Any:
    """Return the name of a folder's experiment; where one of the two files that state it is damaged, from the other.

    Raises:
        UserError: both are damaged.
    """
    stated = OutputManifest(out).experiment
    try:
        return read_owner(out).get("name")
    except UserError:
        return stated if stated is not None else _stored(out).get("name")


def claim(out: Path, experiment: Experiment) -> list[str]:
    """Create the output folder of an experiment, or update the experiment stored in it.

    Settings may change between calls, and affected runs are trained again; the name may not change.

    Args:
        out: the folder, which may not exist.
        experiment: the experiment.

    Returns:
        A note per file that was damaged and is written anew.

    Raises:
        UserError: the folder belongs to another experiment, contains other files, or is not writable.
    """
    refuse_foreign(out, experiment)
    _make(out)
    notes = _damaged(out)
    content = experiment.model_dump(mode="json", exclude_unset=True)
    write_atomically(out / MARK, json.dumps(content, indent=1, ensure_ascii=False) + "\n", follow_link=False)
    OutputManifest(out).state_files([out / MARK], experiment.name)
    return notes


def _damaged(out: Path) -> list[str]:
    """Return a note about the manifest or the stored experiment if it is damaged."""
    if not any((out / name).is_file() for name in (MANIFEST, MARK)):
        return []
    try:
        OutputManifest(out).read()
    except UserError:
        return [f"{out / MANIFEST} was damaged and is written anew"]
    try:
        read_owner(out)
    except UserError:
        return [f"{out / MARK} was damaged and is written anew"]
    return []


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
    return (folder / MARK).is_file()


def read_owner(out: Path) -> dict[str, Any]:
    """Return the experiment that is stored in an output folder, as JSON values by key.

    Args:
        out: the folder.

    Raises:
        UserError: the folder contains no experiment, or a damaged one.
    """
    content = _stored(out)
    OutputManifest(out).verify(out / MARK)
    return content


def _stored(out: Path) -> dict[str, Any]:
    """Return the content of ``experiment.json``, not compared with the manifest."""
    mark = out / MARK
    if not mark.is_file():
        raise UserError(f"{out} is no folder of a comparison: it has no {MARK}")
    content = read_json(mark)
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise UserError(f"{mark} holds no experiment; put back the one that belongs there, or pass another folder")
    return content


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Lock an output folder for this process; the operating system releases the lock when the process ends.

    Both ``.lock`` and the folder itself are locked, where its file system locks folders: others are then excluded also
    after ``.lock`` was removed.

    Args:
        out: the folder, which is created.

    Raises:
        UserError: another process has locked the folder, or its file system has no locks.
    """
    _make(out)
    if (out / ".lock").is_symlink():  # opening it would empty the file that it leads to
        raise UserError(f"{out / '.lock'} is a symbolic link, and nothing is written through it; delete the link")
    lock = FileLock(out / ".lock")
    with contextlib.ExitStack() as held:
        try:
            lock.acquire(timeout=0)
            held.callback(lock.release)
            free = _lock_folder(out, held)
        except Timeout:
            free = False
        except (OSError, NotImplementedError) as error:
            raise UserError(
                f"{out} cannot be locked ({getattr(error, 'strerror', None) or error}), so that two processes could "
                "write to it; pass an output folder on another file system"
            ) from None
        if not free:
            raise UserError(f"another i2ikd works in {out}; wait for it, or pass another output folder")
        yield


def _lock_folder(out: Path, held: contextlib.ExitStack) -> bool:
    """Lock the folder itself; return whether no other process has. NFS and Windows do not lock folders."""
    if not locks.are_supported():
        return True
    descriptor = os.open(out, os.O_RDONLY)
    held.callback(os.close, descriptor)
    try:
        return locks.try_exclusive(descriptor)
    except OSError:
        return True
