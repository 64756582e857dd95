"""Atomic file writes: data is written to a temporary file in the same folder, which then replaces the target."""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from i2ikd.errors import UserError
from i2ikd.temporary_files import temporary_path

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


_KINDS = (
    (stat.S_ISDIR, "folder"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@contextlib.contextmanager
def replacing(path: str | Path, *, follow_link: bool = True) -> Iterator[BinaryIO]:
    """Open a binary stream whose content replaces the file ``path`` when the block ends without an exception.

    After an exception the old file is unchanged and the temporary file removed.

    Args:
        path: the file to write; its folder exists.
        follow_link: write the target of a symbolic link; otherwise the file replaces the link.

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
    final = Path(os.path.realpath(path) if follow_link else path)
    if final.exists() and not final.is_file() and not (final.is_symlink() and not follow_link):
        kind = "folder" if final.is_dir() else "device or pipe"
        raise UserError(f"cannot write {path}: expected a regular file, got a {kind}")
    temporary = temporary_path(final)
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


def require_regular_file(path: Path) -> None:
    """Check that a file can be opened for reading without waiting: no pipe, socket, device or folder.

    Args:
        path: the file; symbolic links are followed.

    Raises:
        UserError: it is none, does not exist, or cannot be read.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long or holds a null character
        raise UserError(f"{path}: the file cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    refuse_special_file(path)
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: no permission to read the file; change its permissions")


def refuse_special_file(path: Path) -> None:
    """Check that what exists at a path is a regular file: reading a pipe, socket or device can wait without end.

    Args:
        path: the file, which may not exist; symbolic links are followed.

    Raises:
        UserError: it is a pipe, socket, device or folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "special file")
        raise UserError(f"{path}: expected a regular file, got a {kind}; pass the file itself")


def write_atomically(path: str | Path, content: bytes | str, *, follow_link: bool = True) -> None:
    """Write a file atomically.

    Args:
        path: the file to write; its folder exists.
        content: bytes, or text, which is encoded as UTF-8 with unchanged line ends. Bytes of file names that are not
            UTF-8 become escapes, which JSON reads back.
        follow_link: see ``replacing``.

    Raises:
        UserError: see ``replacing``.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with replacing(path, follow_link=follow_link) as stream:
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
    refuse_special_file(Path(path))
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
    except ValueError as error:  # an integer of thousands of digits
        raise UserError(f"{path} is not valid JSON: {error}") from error


def read_model(path: str | Path, model: type[Model], remedy: str) -> Model:
    """Read a JSON file that i2ikd wrote.

    Args:
        path: the file to read.
        model: pydantic model of its content.
        remedy: what to do about a file of another shape, for the message.

    Raises:
        UserError: the file cannot be read, is not JSON, or has another shape; the message contains the first place.
    """
    from pydantic import ValidationError  # `--help` does without

    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "its content"
        raise UserError(f"{path}: {place[:80]}: {problem['msg'][:120]}; {remedy}") from None


def refuse_linked_folder(folder: Path, root: Path) -> None:
    """Check that a folder below ``root`` is reached without symbolic links, through which nothing is written.

    Args:
        folder: below ``root``; it need not exist.
        root: a folder, which may itself be a link.

    Raises:
        UserError: the folder, or one between it and ``root``, is a link.
    """
    for place in (folder, *folder.parents):
        if place == root:
            return
        if place.is_symlink():
            raise UserError(
                f"{place} is a symbolic link, and nothing is written through links inside {root}; replace the link by "
                "a copy of its folder"
            )


def _finite(value: Any) -> Any:
    """Replace floats that are not finite by ``None``, recursively."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
