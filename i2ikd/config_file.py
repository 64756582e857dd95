"""Experiment files: TOML with ``base`` inheritance, and ``key.path=value`` overrides. The schema is in ``config``."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from i2ikd.errors import UserError, named, shortened
from i2ikd.files import refuse_special_file

BASE = "base"
"""Top-level key of an experiment file: the path of the file that it inherits from."""

_DEEPEST = 20
"""Tables in each other that an override may state."""
_LONGEST, _MOST_DOTS = 2_000_000, 1000
"""Characters of an experiment, and dots between two of the characters that end a key."""

_COMPONENT_KEYS = ("name", "model")
"""Keys that name the component of a table. The other keys of the table are options of that component."""


def read_document(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read an experiment file, merge it into its bases and apply overrides.

    Args:
        path: TOML file. Its key ``base`` is a path relative to the file's own folder; bases may have bases.
        overrides: ``key.path=value`` texts, applied in order after merging.

    Returns:
        The merged document, without the key ``base``.

    Raises:
        UserError: a file that cannot be read or is not TOML, a cycle of bases, or an override that does not apply.
    """
    document = _inherited(path, ())
    for override in overrides:
        apply_override(document, override)
    if BASE in document:
        raise UserError(
            f"{path}: an override cannot set 'base', because bases are merged before overrides; "
            f'write base = "..." into a file of its own'
        )
    return document


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the tables of two documents; values of ``changes`` take precedence.

    Tables are merged recursively. Lists (``arms`` among them) and scalars are replaced. A nested table that names
    another component (``name``, or ``model`` of a network) replaces the whole table of the base, because the options of
    one component are not options of another.

    Args:
        base: Inherited document. Not modified.
        changes: Document whose values take precedence. Not modified.

    Returns:
        A new document, which shares unchanged parts with its sources.

    >>> merge({"training": {"epochs": 150, "lr": 1e-3}}, {"training": {"epochs": 30}})
    {'training': {'epochs': 30, 'lr': 0.001}}
    >>> merge({"teacher": {"model": "dc-cnn", "cascades": 5}}, {"teacher": {"model": "vdsr"}})
    {'teacher': {'model': 'vdsr'}}
    """
    merged = dict(base)
    for key, value in changes.items():
        inherited = base.get(key)
        if isinstance(inherited, dict) and isinstance(value, dict) and not names_another(inherited, value):
            merged[key] = merge(inherited, value)
        else:
            merged[key] = value
    return merged


def names_another(inherited: Mapping[str, Any], table: Mapping[str, Any]) -> bool:
    """Whether a table selects a component other than the inherited one, whose options it does not share.

    Args:
        inherited: table that is changed.
        table: its changes.

    >>> names_another({"model": "dc-cnn", "depth": 5}, {"depth": 3})
    False
    """
    return any(key in table and table[key] != inherited.get(key) for key in _COMPONENT_KEYS)


def _inherited(path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """Read a file and merge it into its bases; ``heirs`` are the files that led to it, the first one first."""
    chain = (*heirs, path)
    if os.path.realpath(path) in map(os.path.realpath, heirs):
        raise UserError(f"the experiment {chain[0]} inherits from itself: " + " -> ".join(map(str, chain)))
    document = _parsed(path, heirs)
    base = document.pop(BASE, None)
    if base is None:
        return document
    if not isinstance(base, str) or not base:
        raise UserError(f"{path}: base: expected the path of a TOML file as text, got {base!r}")
    return merge(_inherited(path.parent / base, chain), document)


def _parsed(path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """Parse one file; errors name the heir that refers to it."""
    heir = f", the base of {heirs[-1]}" if heirs else ""
    with named(f"cannot read the experiment {path}{heir}"):
        refuse_special_file(path)
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_unusual(text)
        return tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot read the experiment {path}{heir}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path}{heir} is not TOML of an experiment: it is nested too deeply") from None
    except ValueError as error:  # also an integer of thousands of digits
        raise UserError(f"{path}{heir} is not TOML: {error}") from None


def _refuse_unusual(text: str) -> None:
    """Refuse what the parser takes minutes for: the time of a dotted key grows with the square of its parts."""
    if len(text) > _LONGEST:
        raise ValueError(f"expected at most {_LONGEST:,} characters, got {len(text):,}")
    if max(part.count(".") for part in re.split(r"[=,{\n]", text)) > _MOST_DOTS:
        raise ValueError(f"expected at most {_MOST_DOTS} dots in a key")


def apply_override(document: dict[str, Any], override: str) -> None:
    """Set one value of a document, in place.

    Args:
        document: Parsed TOML. Missing tables on the path are created.
        override: ``a.b.c=value``. The value is TOML, or else plain text. Items of a list are selected
            by their ``name`` or by their index from 0.

    Raises:
        UserError: no ``=``, an item that the list lacks, or a path through something that is not a table.

    >>> document = {"arms": [{"name": "kd", "alpha": 0.5}]}
    >>> apply_override(document, "arms.kd.alpha=0.25")
    >>> document["arms"]
    [{'name': 'kd', 'alpha': 0.25}]
    """
    key, separator, text = override.partition("=")
    key = key.strip()
    if not separator or not re.fullmatch(r"[^.=\s]+(\.[^.=\s]+)*", key):
        raise UserError(f"{_named(override)} is not of the form key.path=value, e.g. -o student.depth=4")
    value = _value(text, override)
    *path, last = key.split(".")
    if len(path) > _DEEPEST:
        raise UserError(f"{_named(override)}: expected at most {_DEEPEST} tables in each other, got {len(path)}")
    current: Any = document
    for part in path:
        current = _enter(current, part, override)
    if isinstance(current, list):
        _replace(current, last, value, override)
    elif isinstance(current, dict):
        current[last] = value
    else:
        raise UserError(f"{_named(override)}: {'.'.join(path)} is a value, not a table")


def refuse_unwritable_text(document: Any, where: str) -> None:
    """Check that every text of a document can be stored as JSON: half of a surrogate pair is no character.

    Args:
        document: nested tables and lists. Values may be file names that are not UTF-8, as Python decodes them.
        where: prefix of the message.

    Raises:
        UserError: a key or value is no such text.
    """
    rest = [document]
    while rest:
        value = rest.pop()
        if isinstance(value, Mapping):
            for key in value:
                _require_encodable(str(key), "strict", where)
            rest += value.values()
        elif isinstance(value, list | tuple):
            rest += value
        elif isinstance(value, str):
            _require_encodable(value, "surrogateescape", where)


def _require_encodable(text: str, errors: str, where: str) -> None:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        raise UserError(f"{where}: expected Unicode text, got {ascii(text)[:80]}") from None


def _named(override: str) -> str:
    """Return how messages name an override."""
    return f"the override {shortened(override, 80)!r}"


def _value(text: str, override: str) -> Any:
    """Return the value of an override: TOML, or else plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, or deep nesting
        raise UserError(f"{_named(override)}: {error}") from None


def _index(part: str, items: list[Any]) -> int | None:
    """Return the index of a list's item that a part of a path states; ``None`` if it states none."""
    if not re.fullmatch(r"[0-9]{1,9}", part) or int(part) >= len(items):
        return None
    return int(part)


def _enter(current: Any, part: str, override: str) -> Any:
    """Return the table or list item that one part of a path selects."""
    if isinstance(current, dict):
        return current.setdefault(part, {})
    if isinstance(current, list):
        for item in current:
            if isinstance(item, dict) and item.get("name") == part:
                return item
        index = _index(part, current)
        if index is not None:
            return current[index]
        names = [str(i.get("name")) for i in current if isinstance(i, dict)]
        raise UserError(f"{_named(override)}: there is no {part[:40]!r} in the list; it has {', '.join(names)}")
    raise UserError(f"{_named(override)}: {part!r} lies in a value, not in a table")


def _replace(items: list[Any], part: str, value: Any, override: str) -> None:
    """Replace the item of a list at an index."""
    index = _index(part, items)
    if index is None:
        raise UserError(f"{_named(override)}: the list has the places 0 to {len(items) - 1}")
    items[index] = value
