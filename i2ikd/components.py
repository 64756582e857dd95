"""Lookup, construction and listing of registered components by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from i2ikd.errors import UserError
from i2ikd.registry import Registry, default_registry

if TYPE_CHECKING:
    from torch import nn

    from i2ikd.distiller import Distiller
    from i2ikd.exporter import Exporter
    from i2ikd.metric import Metric
    from i2ikd.objective import Objective
    from i2ikd.recipe import Stage
    from i2ikd.source import Volume, VolumeSource
    from i2ikd.task import Task
    from i2ikd.transform import Transform


@overload
def get(kind: Literal["model", "combination"], name: str) -> Callable[..., nn.Module]: ...
@overload
def get(kind: Literal["task"], name: str) -> Callable[..., Task]: ...
@overload
def get(kind: Literal["distiller"], name: str) -> Callable[..., Distiller]: ...
@overload
def get(kind: Literal["objective"], name: str) -> Callable[..., Objective]: ...
@overload
def get(kind: Literal["transform"], name: str) -> Callable[..., Transform]: ...
@overload
def get(kind: Literal["metric"], name: str) -> Callable[..., Metric]: ...
@overload
def get(kind: Literal["exporter"], name: str) -> Callable[..., Exporter]: ...
@overload
def get(kind: Literal["recipe"], name: str) -> Callable[..., list[Stage]]: ...
@overload
def get(kind: Literal["dataset"], name: str) -> Callable[..., VolumeSource]: ...
@overload
def get(kind: Literal["reader"], name: str) -> Callable[..., Volume]: ...
@overload
def get(kind: str, name: str) -> Callable[..., Any]: ...


def get(kind: str, name: str) -> Callable[..., Any]:
    """Return the class or factory registered under a name.

    Args:
        kind: of the component, such as ``model``.
        name: of the component.

    Raises:
        UserError: an unknown kind or name; the message contains the nearest name.
    """
    _refuse_no_text(kind, name)
    return default_registry().get(kind, name).resolve()


@overload
def create(kind: Literal["model", "combination"], name: str, **options: Any) -> nn.Module: ...
@overload
def create(kind: Literal["task"], name: str, **options: Any) -> Task: ...
@overload
def create(kind: Literal["distiller"], name: str, **options: Any) -> Distiller: ...
@overload
def create(kind: Literal["objective"], name: str, **options: Any) -> Objective: ...
@overload
def create(kind: Literal["transform"], name: str, **options: Any) -> Transform: ...
@overload
def create(kind: Literal["metric"], name: str, **options: Any) -> Metric: ...
@overload
def create(kind: Literal["exporter"], name: str, **options: Any) -> Exporter: ...
@overload
def create(kind: Literal["recipe"], name: str, **options: Any) -> list[Stage]: ...
@overload
def create(kind: Literal["dataset"], name: str, **options: Any) -> VolumeSource: ...
@overload
def create(kind: Literal["reader"], name: str, **options: Any) -> Volume: ...
@overload
def create(kind: str, name: str, **options: Any) -> Any: ...


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
    _refuse_no_text(kind, name)
    return default_registry().create(kind, name, options)


def _refuse_no_text(kind: object, name: object) -> None:
    """Raise ``UserError`` for a kind or a name that is no text."""
    for word, value in (("kind", kind), ("name", name)):
        if not isinstance(value, str):
            raise UserError(f"{word}: expected a text such as 'model' or 'plain-cnn', got a {type(value).__name__}")


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
