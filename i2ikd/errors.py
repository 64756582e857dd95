"""Exception for user errors, and the nearest-name hint of its messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Invalid input of a user: configuration, data, files or arguments.

    The message contains the object, the expected and the actual value, and a remedy. The command line prints it as one
    line of at most 300 characters and ends with exit code 2.

    Args:
        message: one line.
        details: further lines, such as the files that it is about; at most 10 are printed.
    """

    def __init__(self, message: str = "", details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


def printable(text: str) -> str:
    """Return a text that can be encoded: bytes of a file name that are not UTF-8 become escapes.

    >>> printable("caf" + chr(0xDCE9)) == "caf" + chr(92) + "udce9"
    True
    """
    return text.encode("utf-8", "backslashreplace").decode()


LONGEST_LINE = 300
"""Characters of an error on the command line."""
MOST_DETAILS = 10
"""Further lines of an error on the command line."""


_LONG_PATH = re.compile(r"(?<![^\s'\"(])/[^\s:;]{40,}((?:/[^\s/:;]+){2})(?=[\s:;,]|$)")
"""A path; its last two parts are kept."""


def shortened(text: str, length: int = LONGEST_LINE) -> str:
    """Return a text as one line of at most ``length`` characters: its start with the object, its end with the remedy.

    Long paths lose their leading folders first. The end starts at a semicolon, as remedies do: at the first one in the
    last third of the length, or else at the last one that leaves a third to the start.

    >>> shortened("/data" + 12 * "/folder" + "/store/run/weights.pt: expected " + 30 * "9" + "; copy it again", 90)
    '.../run/weights.pt: expected 999999999999999999999999999999; copy it again'
    >>> shortened("expected a number, got " + 50 * "9" + "; state one", 50)
    'expected a number, got 999999999999 ...; state one'
    """
    line = " ".join(text[: 100 * length].split())
    if len(text) > 100 * length:
        line += " ... " + " ".join(text[-length:].split())
    if len(line) > length:
        line = _LONG_PATH.sub(r"...\1", line)
    if len(line) <= length:
        return line
    remedy = line.find("; ", len(line) - length // 3)
    if remedy < 0:
        remedy = line.rfind("; ", len(line) - 2 * length // 3)
    end = line[remedy:] if remedy >= 0 else " " + line[-(length // 3) :].lstrip()
    return line[: length - len(end) - 4].rstrip() + " ..." + end


@contextmanager
def named(where: str) -> Iterator[None]:
    """Prefix the message of a ``UserError`` with the place that it is about, unless it starts with it.

    >>> with named("arm 'a'"):
    ...     raise UserError("the stage 's': no layers")
    Traceback (most recent call last):
    i2ikd.errors.UserError: arm 'a': the stage 's': no layers
    """
    try:
        yield
    except UserError as error:
        if str(error).startswith(where):
            raise
        raise UserError(f"{where}: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint of an "unknown name" message: the nearest known name, or all known names.

    Args:
        name: the unknown name.
        known: the valid names.

    >>> nearest("atention", ["attention", "imitation"])
    "did you mean 'attention'?"
    >>> nearest("zzz", ["b", "a"])
    'known: a, b'
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return "there are none"
    return "known: " + ", ".join(names)
