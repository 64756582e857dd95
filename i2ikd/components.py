"""Look up, create and list components by name from Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from i2ikd.registry import default_registry


def get(kind: str, name: str) -> Any:
    """Return the class or factory registered under ``name``.

    Raises:
        UserError: there is none; the message has the nearest name.
    """
    return default_registry().get(kind, name).resolve()


def create(kind: str, name: str, **options: Any) -> Any:
    """Build a component, its options checked against its typed arguments.

    Raises:
        UserError: unknown name or wrong option.
    """
    return default_registry().create(kind, name, options)


def list_components(kind: str) -> dict[str, Mapping[str, str]]:
    """Return the names of a kind with the facts that they were registered with; nothing is imported.

    Raises:
        UserError: there is no such kind.
    """
    return {component.name: component.metadata for component in default_registry().components(kind)}
