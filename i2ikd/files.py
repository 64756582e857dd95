"""Atomic file writes: data is written to a temporary file in the same folder, which then replaces the target."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from i2ikd.errors import UserError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary stream whose content replaces the file ``path`` when the block ends without an exception.

    After an exception the old file is unchanged and the temporary file removed. A symbolic link is followed.

    Args:
        path: the file to write; its folder exists.

    Yields:
        A binary stream for writing.

    Raises:
        UserError: the folder is missing or read-only, the disk is full, or ``path`` is not a regular file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.bin") as stream:
    ...         _ = stream.write(b"whole")
    ...     (Path(folder) / "a.bin").read_bytes()
    b'whole'
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        kind = "folder" if final.is_dir() else "device or pipe"
        raise UserError(f"cannot write {path}: expected a regular file, got a {kind}")
    temporary = final.with_name(f".{final.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(final)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write a file atomically.

    Args:
        path: the file to write; its folder exists.
        content: bytes, or text, which is encoded as UTF-8 with unchanged line ends.

    Raises:
        UserError: see ``replacing``.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as stream:
        stream.write(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as standard JSON, atomically: floats round-trip, NaN and infinities become ``null``.

    Args:
        path: the file to write; its folder exists.
        value: nested dictionaries, lists, tuples and JSON scalars.

    Raises:
        UserError: see ``replacing``.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Args:
        path: the file to read.

    Returns:
        The decoded value.

    Raises:
        UserError: the file is missing, cannot be read, or is not valid JSON; the message contains file and line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid JSON: expected UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{path}: the JSON is nested too deeply") from error


def _finite(value: Any) -> Any:
    """Replace floats that are not finite by ``None``, recursively."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
