"""Validation of a configuration's options against the typed arguments of a component."""

from __future__ import annotations

import functools
import inspect
import reprlib
import typing
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from i2ikd.errors import UserError, nearest, shortened

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 80, 80, 40

PROVIDED_ARGUMENTS = ("registry", "recipe_context")
"""Arguments that are no options: they receive the creating registry, and a recipe's knowledge of its networks."""


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the named parameters of a component, without ``self``, ``*args`` and ``**kwargs``.

    Args:
        target: class, function, or instance with ``__call__``.

    Returns:
        Parameters by name, in the order of the signature.
    """
    signature = inspect.signature(target).parameters
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {
        name: p for name, p in signature.items() if p.kind not in variable and name not in ("self", *PROVIDED_ARGUMENTS)
    }


def provided(target: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the provided values for which a class or factory has an argument."""
    return {name: value for name, value in values.items() if name in inspect.signature(target).parameters}


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the type hints by parameter, ``Annotated`` included."""
    return typing.get_type_hints(_function(target), include_extras=True)


def _function(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose annotations describe the parameters."""
    if isinstance(target, functools.partial):
        return _function(target.func)
    if inspect.isclass(target):
        return target.__init__
    return target if inspect.isroutine(target) else type(target).__call__


def _takes_any(target: Callable[..., Any]) -> bool:
    """Return whether ``target`` accepts arbitrary options; ``**kwargs`` inherited from torch do not count."""
    if getattr(_function(target), "__module__", "").startswith("torch."):
        return False
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


_models: WeakKeyDictionary[Callable[..., Any], type[BaseModel]] = WeakKeyDictionary()
"""Models of components, as long as these exist; pydantic takes milliseconds to build one."""


def _model(target: Callable[..., Any]) -> type[BaseModel]:
    """Return a pydantic model with one field per parameter, built once for each component."""
    try:
        known = _models.get(target)
        if known is None:
            known = _models[target] = _built_model(target)
    except TypeError:  # an object without a hash, or without weak references
        return _built_model(target)
    return known


def _built_model(target: Callable[..., Any]) -> type[BaseModel]:
    """Build the model of a component; aliases permit names that pydantic reserves."""
    hints = _hints(target)
    fields: dict[str, Any] = {}
    for index, (name, parameter) in enumerate(parameters(target).items()):
        required = parameter.default is inspect.Parameter.empty
        default = Field(alias=name) if required else Field(default=parameter.default, alias=name)
        fields[f"option_{index}"] = (hints.get(name, Any), default)
    config = ConfigDict(extra="allow" if _takes_any(target) else "forbid", arbitrary_types_allowed=True)
    return create_model("Options", __config__=config, **fields)


def option_types(target: Callable[..., Any]) -> dict[str, tuple[Any, Any]] | None:
    """Return annotation and default of every option of a component; ``None`` if it accepts any options.

    Args:
        target: class or factory.
    """
    if _takes_any(target):
        return None
    try:
        hints = _hints(target)
    except NameError:
        return None
    return {name: (hints.get(name, Any), parameter.default) for name, parameter in parameters(target).items()}


def check(target: Callable[..., Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Validate options against the typed arguments of a component.

    Args:
        target: class or factory.
        options: values as read from a configuration.
        where: prefix of error messages, e.g. ``student (model 'dc-cnn')``.

    Returns:
        The given options, converted to the annotated types; defaults are not added.

    Raises:
        UserError: an unknown, missing or invalid option; the message contains the nearest known name.
    """
    try:
        model = _model(target)
    except NameError as error:
        raise UserError(f"{where}: cannot resolve the type hints: {error}; import the missing name") from error
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        known = {str(field.alias): field for field in model.model_fields.values()}
        raise UserError(f"{where}: {explain(error, known)}") from None
    values = {p: getattr(checked, f"option_{i}") for i, p in enumerate(parameters(target)) if p in options}
    return {**values, **(checked.model_extra or {})}


def explain(error: ValidationError, known: Mapping[str, Any]) -> str:
    """Format the first problem of a validation error in one line, with the nearest name for an unknown option.

    Args:
        error: error of pydantic.
        known: fields by name, for the hint.
    """
    problem = error.errors()[0]
    location = ".".join(str(part) for part in problem["loc"][:12])
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        return f"unknown option {location!r}; {_hint(name, problem['loc'], known)}"
    if problem["type"] == "missing":
        return f"the option {location!r} is missing"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return f"{shortened(location, 100)} = {_short(problem.get('input'))}: {message}"


def _short(value: Any) -> str:
    """Return a value as text of at most 80 characters; a whole table is named by its keys."""
    if isinstance(value, Mapping) and len(value) > 3:
        return f"a table of {', '.join(map(str, list(value)[:5]))}, ..."[:80]
    try:
        return shortened(_REPR.repr(value), 80)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} of thousands of digits"


def _hint(name: str, location: tuple[int | str, ...], known: Mapping[str, Any]) -> str:
    """Return the nearest of the names known at ``location``, found by descending through nested models."""
    current: Any = known
    for part in location[:-1]:
        current = _descend(current, part)
    if isinstance(current, Mapping):
        return nearest(name, [str(k) for k in current])
    return "no options are known at this level"


def _descend(current: Any, part: int | str) -> Any:
    """Return the fields of the nested model of one field; ``None`` without one."""
    if isinstance(part, int) or not isinstance(current, Mapping):
        return current
    entry = current.get(part)
    annotation = entry.annotation if isinstance(entry, FieldInfo) else None
    for candidate in (annotation, *typing.get_args(annotation)):
        for inner in (candidate, *typing.get_args(candidate)):
            if inspect.isclass(inner) and issubclass(inner, BaseModel):
                return inner.model_fields
    return None
