"""A component's options are its typed arguments: checking a configuration's options against them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from i2ikd.errors import UserError, nearest

REGISTRY_ARGUMENT = "registry"
"""An argument of this name receives the creating registry and is not an option."""


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the options that ``target`` takes by name."""
    found = inspect.signature(target).parameters
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in found.items() if p.kind not in variable and name not in ("self", REGISTRY_ARGUMENT)}


def takes_registry(target: Callable[..., Any]) -> bool:
    """Return whether a class or factory has an argument ``registry``."""
    return REGISTRY_ARGUMENT in inspect.signature(target).parameters


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(_function(target), include_extras=True)


def _function(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return what carries the type hints."""
    if isinstance(target, functools.partial):
        return _function(target.func)
    if inspect.isclass(target):
        return target.__init__
    return target if inspect.isroutine(target) else type(target).__call__


def _takes_any(target: Callable[..., Any]) -> bool:
    """Whether there is a ``**options``; the ``**kwargs`` that a network inherits from torch takes nothing."""
    if getattr(_function(target), "__module__", "").startswith("torch."):
        return False
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def _model(target: Callable[..., Any]) -> type[BaseModel]:
    hints = _hints(target)
    fields: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(parameters(target).items()):
        required = parameter.default is inspect.Parameter.empty
        default = Field(alias=name) if required else Field(default=parameter.default, alias=name)
        fields[f"option_{index}"] = (hints.get(name, Any), default)
    config = ConfigDict(extra="allow" if _takes_any(target) else "forbid", arbitrary_types_allowed=True)
    return create_model("Options", __config__=config, **fields)


def check(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Validate ``options`` against the typed arguments of ``target`` and return them converted.

    Args:
        target: class or factory.
        options: as read from a configuration.
        where: how a message names the place, e.g. ``student (model 'dc-cnn')``.

    Raises:
        UserError: an unknown, missing or ill-typed option, with the nearest known name.
    """
    try:
        model = _model(target)
    except NameError as error:
        raise UserError(f"{where}: its type hints cannot be read: {error}; import what they name") from error
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        known = {str(field.alias): field for field in model.model_fields.values()}
        raise UserError(f"{where}: {explain(error, known)}") from None
    values = {p: getattr(checked, f"option_{i}") for i, p in enumerate(parameters(target)) if p in options}
    return {**values, **(checked.model_extra or {})}


def explain(error: ValidationError, known: Mapping[str, Any]) -> str:
    """Return the first error in one line, with a hint for a misspelt name."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        return f"unknown option {place!r}; {_hint(name, problem['loc'], known)}"
    if problem["type"] == "missing":
        return f"the option {place!r} is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{place} = {problem.get('input')!r}: {message}"


def _hint(name: str, location: tuple[int | str, ...], known: Mapping[str, Any]) -> str:
    """Walk along ``location`` through nested models to the names that are known there."""
    current: Any = known
    for part in location[:-1]:
        current = _descend(current, part)
    if isinstance(current, Mapping):
        return nearest(name, [str(k) for k in current])
    return "it is not an option here"


def _descend(current: Any, part: int | str) -> Any:
    if isinstance(part, int) or not isinstance(current, Mapping):
        return current
    entry = current.get(part)
    annotation = entry.annotation if isinstance(entry, FieldInfo) else None
    for candidate in (annotation, *typing.get_args(annotation)):
        for inner in (candidate, *typing.get_args(candidate)):
            if inspect.isclass(inner) and issubclass(inner, BaseModel):
                return inner.model_fields
    return None
