"""Teacher cache on disk: a folder of entries of limited size, shared by several processes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from i2ikd.bounded_cache import MIB
from i2ikd.engine.teacher_cache import locks
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout
from i2ikd.engine.teacher_cache.entry import (
    EntryWriter,
    entry_bytes,
    last_use,
    locked_for_removal,
    read_entry,
    reserved_bytes,
)
from i2ikd.engine.teacher_cache.key import CacheKey

_SPARE = 2**30
"""Bytes of the disk that the cache leaves free for other files, such as the run's checkpoints."""
_PARTIAL = ".part"
"""Suffix of the folders of incomplete entries."""


class DiskCache:
    """Entries of the teacher cache by address; disk errors disable writing and never stop a run.

    An entry is written into a temporary folder and renamed when it is complete; only one process writes an entry.
    Damaged entries are removed when they are read. When a new entry does not fit, the least recently used ones are
    removed, except those that a process has mapped. Changes to the folder, but not the writing of an entry, are made
    under a lock, so that the limit holds for all processes together.

    Args:
        folder: created when the first entry is written.
        limit_mib: size of all entries together in MiB, including those being written.
        cache_key: computes the addresses of entries.
    """

    def __init__(self, folder: Path, limit_mib: int, cache_key: CacheKey) -> None:
        self.folder = folder
        self.cache_key = cache_key
        self._limit = limit_mib * MIB
        self._writable = True

    @property
    def samples(self) -> int:
        """Number of rows of every entry."""
        return len(self.cache_key.keys)

    def read(self, address: str, memory: int) -> CachedRecords | None:
        """Read an entry.

        Args:
            address: of the entry.
            memory: the most bytes to read into memory; a larger entry is mapped from its file.

        Returns:
            The records; ``None`` if there is no valid entry.
        """
        entry = self.folder / address
        if not locks.are_supported() or not entry.is_dir():
            return None
        with contextlib.suppress(OSError, ValueError):
            return read_entry(entry, self.samples, memory)
        with contextlib.suppress(OSError), self._locked():
            return self._read_or_remove(entry, memory)
        return None

    def _read_or_remove(self, entry: Path, memory: int) -> CachedRecords | None:
        """Read again under the lock, as another process may have replaced the entry; remove it if damaged."""
        if not entry.is_dir():
            return None
        try:
            return read_entry(entry, self.samples, memory)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            print(f"i2ikd: {entry}, of the teacher cache, is damaged and computed again: {reason}", file=sys.stderr)
        _remove(entry)
        return None

    def writer(self, address: str, layout: RecordLayout) -> EntryWriter | None:
        """Make room for an entry and start writing it.

        Args:
            address: of the entry.
            layout: of its rows.

        Returns:
            The writer; ``None`` if there is no room, or the entry exists or is being written.
        """
        needed = entry_bytes(layout, self.samples)
        if not self._writable or needed > self._limit:
            return None
        entry = self.folder / address
        try:
            if not locks.are_supported():
                raise OSError(errno.ENOTSUP, "this system has no shared file locks")
            if self.folder.is_symlink() or (self.folder / ".lock").is_symlink():
                raise OSError(errno.ELOOP, "nothing is written through symbolic links")
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                reserved = self._reserved_by_writers()
                if entry.exists() or self._partial(address).exists() or not self._make_room(needed, reserved):
                    return None
                return EntryWriter(self._partial(address), entry, layout, self.samples)
        except OSError as error:
            self.give_up(error)
            return None

    def commit(self, writer: EntryWriter) -> bool:
        """Complete an entry; return whether it was added to the cache.

        Args:
            writer: of the entry; it is closed.
        """
        try:
            with self._locked(), writer:
                return writer.commit()
        except OSError as error:
            self.give_up(error)
            return False

    def is_being_written(self, address: str) -> bool:
        """Return whether another process writes an entry, or has completed it since it was last requested.

        Args:
            address: of the entry.
        """
        if not locks.are_supported():
            return False
        return (self.folder / address).is_dir() or reserved_bytes(self._partial(address)) is not None

    def give_up(self, error: OSError) -> None:
        """Stop writing, with one warning on stderr.

        Args:
            error: the reason.
        """
        if self._writable:
            self._writable = False
            reason = error.strerror or error
            print(
                f"i2ikd: nothing more is written to the teacher cache {self.folder} ({reason}); "
                "the training goes on without",
                file=sys.stderr,
            )

    def _partial(self, address: str) -> Path:
        """Return the folder in which an entry is written."""
        return self.folder / f"{address}{_PARTIAL}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock on the folder's contents."""
        if (self.folder / ".lock").is_symlink():  # opening it would empty the file that it leads to
            raise OSError(errno.ELOOP, "its lock is a symbolic link")
        with FileLock(self.folder / ".lock"):
            yield

    def _reserved_by_writers(self) -> int:
        """Return the bytes reserved by active writers; incomplete entries of ended processes are removed."""
        total = 0
        for partial in self.folder.glob(f"*{_PARTIAL}"):
            size = reserved_bytes(partial)
            if size is None:
                shutil.rmtree(partial, ignore_errors=True)
            else:
                total += size
        return total

    def _make_room(self, needed: int, reserved: int) -> bool:
        """Remove least recently used entries until ``needed`` bytes are free; none, if that cannot free enough.

        Returns:
            Whether the entry fits into the limit.

        Raises:
            OSError: the disk itself has too little space.
        """
        entries = []
        for path in self.folder.iterdir():
            if path.suffix != _PARTIAL:
                with contextlib.suppress(OSError):  # the lock file, or a damaged entry
                    entries.append((*last_use(path), path))
        free = shutil.disk_usage(self.folder).free
        over_limit = sum(size for _, size, _ in entries) + reserved + needed - self._limit
        over_disk = reserved + needed + _SPARE - free
        removed = 0
        with contextlib.ExitStack() as stack:
            removable = []
            for _, size, path in sorted(entries):
                if removed >= max(over_limit, over_disk):
                    break
                if stack.enter_context(locked_for_removal(path)):
                    removable.append(path)
                    removed += size
            if removed < over_disk:
                space = f"{needed >> 20} MiB are needed, and {free >> 20} MiB of the disk are free"
                raise OSError(errno.ENOSPC, f"{space}, of which {_SPARE >> 20} MiB are reserved for other files")
            if removed < over_limit:
                return False
            for path in removable:
                _remove(path)
        return True


def _remove(entry: Path) -> None:
    """Rename an entry, which removes it atomically, then delete it."""
    renamed = entry.with_name(f"{entry.name}.{os.getpid()}{_PARTIAL}")
    with contextlib.suppress(FileNotFoundError):
        entry.rename(renamed)
    shutil.rmtree(renamed, ignore_errors=True)
