"""Check of compressed files to their end: readers stop at the last voxel, before the checksum of the gzip format."""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from pathlib import Path

from i2ikd import UserError

_CHUNK = 2**20


def require_whole(path: Path) -> None:
    """Decompress a gzip file to its end, once per process, so that its CRC-32 and length are compared.

    Args:
        path: of the file; one of another format is accepted.

    Raises:
        UserError: the file is truncated or damaged.
        OSError: the file cannot be read.
    """
    status = path.stat()
    problem = _problem(path, status.st_size, status.st_mtime_ns)
    if problem:
        raise UserError(f"{path}: the file is damaged or truncated ({problem}); copy it again")


@lru_cache(maxsize=4096)
def _problem(path: Path, size: int, time: int) -> str:
    """Return what is wrong with a file, empty for nothing; size and time are its state."""
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return ""
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                while stream.read(_CHUNK):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            return str(error) or type(error).__name__
    return ""
