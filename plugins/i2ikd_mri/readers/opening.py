"""Opening of data files by all readers: regular files only, within limits, and errors of libraries with the path."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, TypeVar

from i2ikd import UserError
from i2ikd.files import require_regular_file

LONGEST_HEADER = 60.0
"""Seconds for reading the header of a file; a damaged one can make a library repeat something without end."""
MOST_EXPANSION = 2_000
"""Largest accepted ratio of declared values to the size of a file; gzip reaches 1,032."""
FREE_BYTES = 2**26
"""Declared values up to this size are accepted whatever the size of the file."""

Result = TypeVar("Result")
VolumeClass = TypeVar("VolumeClass", bound=type)


def is_folder(path: Path) -> bool:
    """Return whether a path leads to a folder; a path that cannot exist does not.

    Args:
        path: of a file or folder.
    """
    try:
        return path.is_dir()
    except OSError:  # a name that is too long
        return False


def require_plausible_size(where: str, declared: int, size: int) -> None:
    """Refuse values that a file declares and cannot hold, before memory is allocated for them.

    Args:
        where: file and dataset, the prefix of the message.
        declared: size of the declared values in bytes.
        size: size of the file in bytes.

    Raises:
        UserError: more than 64 MiB are declared, and more than 2,000 times the size of the file.
    """
    if declared > FREE_BYTES and declared > MOST_EXPANSION * size:
        raise UserError(
            f"{where}: it declares {declared / 2**30:.4g} GiB of values, which a file of {size:,} bytes cannot hold; "
            "the file is damaged or empty: copy it again"
        )


@contextmanager
def naming_file(where: object, problem: str = "it cannot be read; the file is damaged or truncated") -> Iterator[None]:
    """Convert every exception of a library to an error with the file.

    Args:
        where: file, or file and slice, the prefix of the message.
        problem: what went wrong, without the reason.

    Raises:
        UserError: the block raised an exception.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{where}: it needs more memory than there is; the file is too large or damaged") from error
    except Exception as error:  # parsers and decoders raise exceptions of many types
        raise UserError(f"{where}: {problem}: {one_line(error)}") from error


def read_header(path: Path, read: Callable[[], Result], problem: str) -> Result:
    """Open a regular file by a library, within a limit of time.

    Args:
        path: the file.
        read: opens it and reads its header.
        problem: what is wrong with a file that the library refuses, for the message.

    Returns:
        The result of ``read``.

    Raises:
        UserError: the file is no regular one, is damaged, or takes more than 60 seconds.
    """
    require_regular_file(path)
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(read())
        except BaseException as error:  # raised again below
            errors.append(error)

    # A thread: no signal interrupts a library that repeats something without end.
    thread = threading.Thread(target=run, name=f"header of {path.name}", daemon=True)
    thread.start()
    thread.join(LONGEST_HEADER)
    if thread.is_alive():
        raise UserError(
            f"{path}: its header was not read within {LONGEST_HEADER:g} seconds; the file is damaged, or its disk does "
            "not answer"
        )
    with naming_file(path, problem):
        for error in errors:
            raise error
    return outcome[0]


def names_its_file(volume: VolumeClass) -> VolumeClass:
    """Class decorator of volumes: whatever a library raises in a method or property is an error with the file.

    Args:
        volume: class with an attribute ``path``.
    """
    for name, member in list(vars(volume).items()):
        if isinstance(member, property) and member.fget is not None:
            setattr(volume, name, property(_naming(member.fget), doc=member.__doc__))
        elif isinstance(member, cached_property):
            named = cached_property(_naming(member.func))
            named.__set_name__(volume, name)
            setattr(volume, name, named)
        elif name == "__len__":
            setattr(volume, name, _naming(_checked_length(member)))
        elif name == "__getitem__":
            setattr(volume, name, _naming(member))
    return volume


def _checked_length(method: Callable[[Any], int]) -> Callable[[Any], int]:
    """Return a method ``__len__`` that refuses what Python refuses after it has returned."""

    @wraps(method)
    def length(self: Any) -> int:
        found = method(self)
        if not 0 <= found <= sys.maxsize:
            raise UserError(f"{self.path}: it declares {found} slices; the file is damaged: copy it again")
        return found

    return length


def _naming(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def named(self: Any, *arguments: Any) -> Any:
        try:
            return method(self, *arguments)
        except UserError:
            raise
        except IndexError as error:
            if arguments and not -len(self) <= arguments[0] < len(self):
                raise  # the end of an iteration over the volume
            cause: Exception = error
        except Exception as error:
            cause = error
        place = f", slice {arguments[0]}" if arguments else ""
        with naming_file(f"{self.path}{place}"):
            raise cause

    return named


def one_line(error: BaseException) -> str:
    """Return the message of an exception as one line of at most 160 characters.

    Args:
        error: the exception.
    """
    return " ".join(str(error)[:1000].split())[:160] or type(error).__name__
