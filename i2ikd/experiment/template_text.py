"""Changes of a commented TOML template: single values with their reasons, while all other text stays."""

from __future__ import annotations

import json
import re
from typing import Any


def with_value(text: str, key: str, value: Any, reason: str = "") -> str:
    r"""Return a template with another value of a key; a key that it lacks is added to its section.

    Args:
        text: TOML, with each value on one line.
        key: dotted, e.g. ``task.dataset.root``; without a dot a key before the first section.
        value: text, number, truth value or list; ``None`` removes the key.
        reason: the comment of the line.

    >>> print(with_value("[task]\nroot = 1  # old\n", "task.root", "data", "as stated"))
    [task]
    root = "data"                   # as stated
    <BLANKLINE>
    """
    section, _, name = key.rpartition(".")
    lines = text.split("\n")
    first, last = _section(lines, section)
    line = None if value is None else _line(name, value, reason)
    for prefix in ("", "# " if line is not None else ""):  # a line that is commented out is replaced too
        for index in range(first, last):
            if re.match(rf"{prefix}{re.escape(name)}\s*=", lines[index]):
                lines[index : index + 1] = [] if line is None else [line]
                return "\n".join(lines)
    if line is not None:
        end = next((i for i in range(last, first, -1) if lines[i - 1].strip()), first)
        lines.insert(end, line)
    return "\n".join(lines)


def _line(name: str, value: Any, reason: str) -> str:
    # a JSON string, number, truth value or list is TOML
    setting = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return f"{setting:<31} # {reason}" if reason else setting


def _section(lines: list[str], section: str) -> tuple[int, int]:
    """Return the first and the last index plus 1 of the lines of a section; a missing one is appended."""
    heads = [index for index, line in enumerate(lines) if line.startswith("[")]
    if not section:
        return 0, heads[0] if heads else len(lines)
    if f"[{section}]" not in lines:
        lines += ["", f"[{section}]"]
        return len(lines), len(lines)
    first = lines.index(f"[{section}]") + 1
    return first, next((index for index in heads if index >= first), len(lines))
