"""Any component by name, from Python: ``i2ikd.get("distiller", "attention")``, ``i2ikd.create``, ``i2ikd.offered``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from i2ikd.plugins import default_host


def get(kind: str, name: str) -> Any:
    """Return the class or factory registered under ``name``.

    Raises:
        UserError: there is none; the message has the nearest name.
    """
    return default_host().get(kind, name).resolve()


def create(kind: str, name: str, **options: Any) -> Any:
    """Build a component, its options checked against its typed arguments.

    Raises:
        UserError: unknown name or wrong option.
    """
    return default_host().create(kind, name, options)


def offered(kind: str) -> dict[str, Mapping[str, str]]:
    """Return the names of a kind with the facts that they were registered with; nothing is imported.

    Raises:
        UserError: there is no such kind.
    """
    return {component.name: component.facts for component in default_host().components(kind)}
