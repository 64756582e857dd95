"""Any component by name, from Python: ``i2ikd.get("distiller", "attention")`` and ``i2ikd.create``."""

from __future__ import annotations

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
