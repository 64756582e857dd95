"""Digests and properties of data files, by content, computed once for each state of a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2ikd.errors import UserError
from i2ikd.files import write_atomically
from i2ikd.reading_progress import HashProgress
from i2ikd.temporary_files import sweep

CACHE_VARIABLE = "I2IKD_CACHE_DIR"
"""Environment variable: folder of the cache; by default ``i2ikd`` in the user's cache folder."""
_RECENT = 2.0
"""Seconds. The times of a file have a resolution, so that a file can change without a trace right after a change."""
_SAVE_EVERY = 5.0
"""Least number of seconds between two writes of the cache file."""
_SAVE_SHARE = 0.05
"""Largest share of the time that is spent writing the cache file, which is written whole."""
_FORMAT = 4
_BLOCK = 2**22
"""Bytes that are read at once."""


class FileFacts:
    """Facts of the files below a folder, kept in a JSON file of the user's cache.

    Facts are valid while size, modification time and change time of all files are unchanged. Facts of files that were
    changed within the last two seconds are not kept. A cache that cannot be read or written has no effect.

    Args:
        root: folder of the data.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:24]
        self._state = _State(_cache_folder() / f"{name}.json")
        self._saver = weakref.finalize(self, self._state.save)

    def __reduce__(self) -> tuple[type[FileFacts], tuple[Path]]:
        return type(self), (self._root,)

    def get(self, key: str, files: Sequence[Path]) -> Any:
        """Return a fact; ``None`` if it is not known for the present state of the files.

        Args:
            key: name of the fact and everything else that it depends on.
            files: the files that it depends on.
        """
        kept = self._state.entries().get(f"{key}\t{_address(files)}")
        return kept["fact"] if kept and kept["stamp"] == _stamp(files)[0] else None

    def put(self, key: str, files: Sequence[Path], fact: Any) -> None:
        """Keep a fact, a JSON value, of the present state of files.

        Args:
            key: see ``get``.
            files: see ``get``.
            fact: the value.
        """
        stamp, changed = _stamp(files)
        if changed < time.time() - _RECENT:
            self._state.add(f"{key}\t{_address(files)}", {"stamp": stamp, "fact": fact})

    def digests(self, volumes: Sequence[Sequence[Path]]) -> list[str]:
        """Return for each volume the SHA-256 of the bytes of its file, or of the digests of several, as hexadecimal.

        Progress is printed to stderr if it takes more than a few seconds.

        Args:
            volumes: the files of each volume, in order.

        Raises:
            UserError: a file cannot be read.
        """
        known: list[str | None] = [self.get("sha256", files) for files in volumes]
        unknown = [path for files, digest in zip(volumes, known) if digest is None for path in files]
        progress = HashProgress(sum(_status(path).st_size for path in unknown))
        found = [self._computed(files, progress) if digest is None else digest for files, digest in zip(volumes, known)]
        progress.end()
        return found

    def _computed(self, files: Sequence[Path], progress: HashProgress) -> str:
        digests = [_of_bytes(path, progress) for path in files]
        digest = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
        self.put("sha256", files, digest)
        return digest


class _State:
    """Content of a cache file, written at intervals and when its owner is deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, dict[str, Any]] | None = None
        self._new: dict[str, dict[str, Any]] = {}
        self._due = time.monotonic() + _SAVE_EVERY

    def entries(self) -> dict[str, dict[str, Any]]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def add(self, key: str, entry: dict[str, Any]) -> None:
        self.entries()[key] = self._new[key] = entry
        if time.monotonic() > self._due:
            self.save()

    def save(self) -> None:
        """Write the new entries beside those that other processes have written."""
        start = time.monotonic()
        if self._new:
            with contextlib.suppress(OSError, UserError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                sweep(self._path.parent)
                content = {"format": _FORMAT, "entries": {**self._read(), **self._new}}
                write_atomically(self._path, json.dumps(content))
        end = time.monotonic()
        self._new, self._due = {}, end + max(_SAVE_EVERY, (end - start) / _SAVE_SHARE)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = isinstance(content, dict) and content.get("format") == _FORMAT
        return dict(content["entries"]) if known else {}


def _cache_folder() -> Path:
    if stated := os.environ.get(CACHE_VARIABLE):
        return Path(stated).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home folder
        return (Path(base) if base else Path.home() / ".cache") / "i2ikd" / "files"
    return Path("i2ikd-cache")


def _address(files: Sequence[Path]) -> str:
    """Return the place of a volume: its file, or the first of its slices with their number."""
    return f"{files[0].absolute()}+{len(files) - 1}"


def _stamp(files: Sequence[Path]) -> tuple[str, float]:
    """Return a digest of sizes and times of files, and the time of the latest change in seconds."""
    lines, latest = [], 0.0
    for path in files:
        status = _status(path)
        lines.append(f"{path.name}\t{status.st_size}\t{status.st_mtime_ns}\t{status.st_ctime_ns}")
        latest = max(latest, status.st_mtime, status.st_ctime)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest(), latest


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); restore or remove it") from error


def _of_bytes(path: Path, progress: HashProgress) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                progress.add(len(block))
            return digest.hexdigest()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); restore or remove it") from error
