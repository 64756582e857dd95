"""The teacher cache on disk: a folder of entries that several processes read and write, with a limit to its size."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from i2ikd.engine.teacher_cache import locks
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout
from i2ikd.engine.teacher_cache.entry import EntryWriter, entry_bytes, read_entry, reserved, unused, used
from i2ikd.engine.teacher_cache.key import CacheKey

_SPARE = 2**30
"""Bytes of the disk that the cache leaves to others: the run's own checkpoints go there."""
_PART = ".part"


class DiskCache:
    """Entries by address, within a limit; nothing that happens to the disk ends a training.

    An entry is written into a folder beside its place and renamed when it is whole; only one process writes one. What
    is damaged is removed when it is found. When a new entry does not fit, those that were not used for longest are
    removed, but none that a process has mapped. Changes to the folder, not the writing of an entry itself, happen
    under a lock, so that the limit holds for all processes together.

    Args:
        folder: is made when the first entry is written.
        limit_mb: of all entries together, those that are being written included.
        cache_key: what the answers come from.
    """

    def __init__(self, folder: Path, limit_mb: int, cache_key: CacheKey) -> None:
        self.folder = folder
        self.cache_key = cache_key
        self._limit = limit_mb * 2**20
        self._writable = True

    @property
    def samples(self) -> int:
        """Rows of every entry."""
        return len(self.cache_key.keys)

    def read(self, address: str, memory: int) -> CachedRecords | None:
        """Return an entry, in memory up to so many bytes and mapped beyond; ``None``: there is none that is sound."""
        entry = self.folder / address
        if not locks.are_supported() or not entry.is_dir():
            return None
        with contextlib.suppress(OSError, ValueError):
            return read_entry(entry, self.samples, memory)
        with contextlib.suppress(OSError), self._locked():
            return self._read_or_remove(entry, memory)
        return None

    def _read_or_remove(self, entry: Path, memory: int) -> CachedRecords | None:
        """Look again while nothing in the folder changes: another process may have removed or replaced the entry."""
        if not entry.is_dir():
            return None
        try:
            return read_entry(entry, self.samples, memory)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            print(f"i2ikd: {entry}, of the teacher cache, is damaged and made anew: {reason}", file=sys.stderr)
        _remove(entry)
        return None

    def writer(self, address: str, form: RecordLayout) -> EntryWriter | None:
        """Make room for an entry and start it; ``None``: there is no room, or it is there, or somebody writes it."""
        needed = entry_bytes(form, self.samples)
        if not self._writable or needed > self._limit:
            return None
        entry = self.folder / address
        try:
            if not locks.are_supported():
                raise OSError(errno.ENOTSUP, "this system has no shared file locks")
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                taken = self._taken_by_writers()
                if entry.exists() or self._part(address).exists() or not self._make_room(needed, taken):
                    return None
                return EntryWriter(self._part(address), entry, form, self.samples)
        except OSError as error:
            self.give_up(error)
            return None

    def commit(self, writer: EntryWriter) -> bool:
        """Finish an entry; return whether it is there now."""
        try:
            with self._locked(), writer:
                return writer.commit()
        except OSError as error:
            self.give_up(error)
            return False

    def coming(self, address: str) -> bool:
        """Whether an entry that was not there a moment ago is there by now, or is being written by another process."""
        if not locks.are_supported():
            return False
        return (self.folder / address).is_dir() or reserved(self._part(address)) is not None

    def give_up(self, error: OSError) -> None:
        """Write no more, and say so once."""
        if self._writable:
            self._writable = False
            reason = error.strerror or error
            print(
                f"i2ikd: nothing more is written to the teacher cache {self.folder} ({reason}); "
                "the training goes on without",
                file=sys.stderr,
            )

    def _part(self, address: str) -> Path:
        return self.folder / f"{address}{_PART}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with FileLock(self.folder / ".lock"):
            yield

    def _taken_by_writers(self) -> int:
        """Return the bytes that living writers will need; what dead ones left is removed."""
        taken = 0
        for part in self.folder.glob(f"*{_PART}"):
            size = reserved(part)
            if size is None:
                shutil.rmtree(part, ignore_errors=True)
            else:
                taken += size
        return taken

    def _make_room(self, needed: int, taken: int) -> bool:
        """Remove the entries not used for longest, until there is room; nothing, where that would not do."""
        entries = []
        for path in self.folder.iterdir():
            if path.suffix != _PART:
                with contextlib.suppress(OSError):  # the lock is no entry, nor is what is damaged
                    entries.append((*used(path), path))
        free = shutil.disk_usage(self.folder).free
        over_limit = sum(size for _, size, _ in entries) + taken + needed - self._limit
        over_disk = taken + needed + _SPARE - free
        removed = 0
        with contextlib.ExitStack() as stack:
            victims = []
            for _, size, path in sorted(entries):
                if removed >= max(over_limit, over_disk):
                    break
                if stack.enter_context(unused(path)):
                    victims.append(path)
                    removed += size
            if removed < over_disk:
                megabytes = f"{needed >> 20} MB are wanted, and {free >> 20} MB of the disk are free"
                raise OSError(errno.ENOSPC, f"{megabytes}, of which {_SPARE >> 20} MB are left to others")
            if removed < over_limit:
                return False
            for path in victims:
                _remove(path)
        return True


def _remove(entry: Path) -> None:
    """Take an entry away in one step, then delete it."""
    gone = entry.with_name(f"{entry.name}.{os.getpid()}{_PART}")
    with contextlib.suppress(FileNotFoundError):
        entry.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
