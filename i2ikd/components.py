"""Lookup, construction and listing of registered components by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from i2ikd.registry import Registry, default_registry


def get(kind: str, name: str) -> Any:
    """Return the class or factory registered under a name.

    Args:
        kind: of the component, such as ``model``.
        name: of the component.

    Raises:
        UserError: an unknown kind or name; the message contains the nearest name.
    """
    return default_registry().get(kind, name).resolve()


def create(kind: str, name: str, **options: Any) -> Any:
    """Create a component.

    Args:
        kind: of the component, such as ``model``.
        name: of the component.
        options: keyword arguments, checked against the types of its factory.

    Returns:
        The object that the factory returns.

    Raises:
        UserError: an unknown kind or name, or a wrong option.
    """
    return default_registry().create(kind, name, options)


def list_components(kind: str) -> dict[str, Mapping[str, str]]:
    """Return the metadata of all components of a kind, by name, without importing them.

    Args:
        kind: of the components, such as ``model``.

    Raises:
        UserError: an unknown kind.
    """
    return {component.name: component.metadata for component in default_registry().components(kind)}


def reader_suffixes(registry: Registry) -> tuple[str, ...]:
    """Return the file name suffixes of all registered readers, in lower case.

    Args:
        registry: contains the readers.
    """
    return tuple(s for reader in registry.components("reader") for s in reader.metadata.get("suffixes", "").split())
