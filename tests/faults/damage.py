"""Damaged contents of files, as strategies of Hypothesis, and the number of inputs of a property."""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import strategies as st

INPUTS = int(os.environ.get("I2IKD_FAULT_INPUTS", "0"))
"""Inputs of all properties together; 0: the short profile of ``make test``."""
CRASHES = int(os.environ.get("I2IKD_FAULT_CRASHES", "0"))
"""Places at which a comparison is killed; 0: the short profile of ``make test``."""

_SPECIAL = [b"\0", b"\xff", b"\xff\xff", b"\x7f\xff", b"\xff\x7f", b"\0\0\0\x80", b"\xff" * 4, b"\xff" * 8, b"\0" * 64]
_Edit = tuple[str, float, bytes]

TRIED = Counter[str]()
"""What was tried in this process, for the summary of the long profile; each kind of fault is a failed test."""


def share(parts: int, short: int) -> int:
    """Return the number of inputs of one property.

    Args:
        parts: number of properties among which the inputs of the long profile are divided.
        short: number of inputs of the short profile.
    """
    return max(-(-INPUTS // parts), short) if INPUTS else short


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for a content with some damage: bits flipped, bytes replaced, cut out, inserted, or cut off.

    Args:
        content: of an intact file.
    """
    kinds = st.sampled_from(["flip", "flip", "replace", "replace", "insert", "remove", "cut"])
    value = st.one_of(st.sampled_from(_SPECIAL), st.binary(min_size=1, max_size=8))
    edits = st.lists(st.tuples(kinds, st.floats(0, 1, exclude_max=True), value), min_size=1, max_size=6)
    return edits.map(lambda chosen: _edited(content, chosen))


def any_bytes(content: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy for contents of every kind: damaged ones, and bytes after the first ones of an intact file.

    Args:
        content: of an intact file.
    """
    start = st.sampled_from([0, 4, 8, 64, 132, 348])
    random = st.tuples(start, st.binary(max_size=600)).map(lambda drawn: content[: drawn[0]] + drawn[1])
    return st.one_of(damaged(content), damaged(content), damaged(content), random)


def _edited(content: bytes, edits: list[_Edit]) -> bytes:
    changed = bytearray(content)
    for kind, place, value in edits:
        # Half of the edits are in the first 512 bytes, where headers are.
        within = min(len(changed), 512) if place < 0.5 else len(changed)
        start = int(2 * (place % 0.5) * within)
        if kind == "flip" and start < len(changed):
            changed[start] ^= 1 << (value[0] % 8)
        elif kind == "replace":
            changed[start : start + len(value)] = value[: max(len(changed) - start, 0)]
        elif kind == "insert":
            changed[start:start] = value
        elif kind == "remove":
            del changed[start : start + 4 * len(value)]
        elif kind == "cut":
            del changed[start:]
    return bytes(changed)
