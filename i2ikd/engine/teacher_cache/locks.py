"""Locks on open files, shared and exclusive, by flock; they end with the process that holds them."""

from __future__ import annotations

from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, whose locks are exclusive and keep others from reading
    fcntl = None


def are_supported() -> bool:
    """Return whether this system has such locks; without them the cache stays in memory."""
    return fcntl is not None


def try_shared(descriptor: int) -> bool:
    """Take a shared lock on an open file; return whether no process has an exclusive one.

    Raises:
        OSError: the file system has no locks.
    """
    assert fcntl is not None
    return _try(descriptor, fcntl.LOCK_SH)


def try_exclusive(descriptor: int) -> bool:
    """Take an exclusive lock on an open file; return whether no other open file has any.

    Raises:
        OSError: the file system has no locks.
    """
    assert fcntl is not None
    return _try(descriptor, fcntl.LOCK_EX)


def _try(descriptor: int, operation: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
