"""The one error that a user sees as a line of text, and the nearest-name hint that goes into it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something in what the user gave is wrong: the message says what, where, and what would be right.

    The command line prints it as one line and ends with exit code 2; from Python it is an ordinary exception.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that ends an "unknown name" message.

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
