"""Exception for user errors, and the nearest-name hint of its messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Invalid input of a user: configuration, data, files or arguments.

    The message contains the object, the expected and the actual value, and a remedy. The command line prints it as one
    line and ends with exit code 2.
    """


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
