"""Files that are whole or not there: a write goes to a temporary neighbour that then takes the file's place."""

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
    """Open a binary stream whose content becomes the file ``path`` when the block ends without an exception.

    Until then, and if anything fails, the old file stays as it was; no reader sees half a file, and no temporary
    file stays behind. A symbolic link is followed, so that it stays one.

    Raises:
        UserError: the folder is missing or may not be written, the disk is full, or ``path`` is no plain file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.bin") as stream:
    ...         _ = stream.write(b"whole")
    ...     (Path(folder) / "a.bin").read_bytes()
    b'whole'
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        found = "folder" if final.is_dir() else "device or a pipe"
        raise UserError(f"cannot write {path}: it is a {found}, not a file")
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
    """Write ``content`` (text as UTF-8, line ends as given) to ``path``, wholly or not at all.

    Raises:
        UserError: as ``replacing``.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as stream:
        stream.write(data)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as JSON that any reader takes: floats in full, NaN and infinities as ``null``.

    Raises:
        UserError: as ``replacing``.
    """
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing, cannot be read, or is no JSON; the message names file and line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no JSON file: it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON file: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be a file of ours") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
