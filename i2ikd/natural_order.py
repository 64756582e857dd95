"""Natural sort order: numbers in names compare by value."""

from __future__ import annotations

import re


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key under which ``slice2`` precedes ``slice10``, without regard to case.

    Args:
        name: any string.

    Returns:
        One entry per run of digits or other characters: numbers compare by value, all else by its case-folded text.

    >>> sorted(["s10", "s2", "a3"], key=natural_key)
    ['a3', 's2', 's10']
    """
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part.casefold()) for part in parts]
