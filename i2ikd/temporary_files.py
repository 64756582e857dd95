"""Names of temporary files, by which those of processes that ended are recognised and removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import secrets
import time
from pathlib import Path

_NAME = re.compile(r"\..*\.(?:([0-9a-f]{8})-)?(\d+)\.[0-9a-f]{8}\.part", re.DOTALL)
"""Host (absent in files of older versions), process, and a random number."""
_OLD = 24 * 3600.0
"""Seconds after which a temporary file is left by a process that ended, on whatever host."""


def temporary_path(final: Path) -> Path:
    """Return a new path beside a file, whose name states host and process.

    Args:
        final: the file that the temporary one will replace.
    """
    return final.with_name(f".{final.name[:100]}.{_host()}-{os.getpid()}.{secrets.token_hex(4)}.part")


def is_temporary(name: str) -> bool:
    """Return whether a file name is one of ``temporary_path``.

    Args:
        name: without folders.
    """
    return _NAME.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes that ended from a folder and the folders below it.

    Links are not followed. Files of other hosts, whose processes cannot be seen, are removed when they are a day old.

    Args:
        folder: which need not exist. Files that cannot be removed stay.
    """
    for above, _, names in os.walk(folder):
        for name in names:
            stated = _NAME.fullmatch(name)
            if stated is not None:
                with contextlib.suppress(OSError):
                    path = Path(above, name)
                    if _is_left(path, *stated.groups()):
                        path.unlink()


def _is_left(path: Path, host: str | None, process: str) -> bool:
    if time.time() - path.lstat().st_mtime > _OLD:
        return True
    return host == _host() and not _is_running(int(process))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        return True
    return True


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
