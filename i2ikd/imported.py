"""Components named by ``import:package.module:Name``: which names a configuration states, what they may lead to."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from i2ikd.errors import UserError

IMPORT = "import:"
"""Prefix of a component that is not registered: ``import:package.module:Name``."""
_NAME = re.compile(r"import:[\w.]+:[\w.]+")


def import_target(text: str) -> Any:
    """Import ``package.module:attribute``.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such attribute.
    """
    module, _, attribute = text.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def stated_imports(configuration: Any) -> Iterator[str]:
    """Yield every name of an imported component in a configuration.

    Args:
        configuration: any nesting of JSON values, such as a parsed experiment or a list of overrides.

    >>> sorted(stated_imports({"student": {"model": "import:my.nets:Small"}, "seeds": [0]}))
    ['import:my.nets:Small']
    """
    if isinstance(configuration, str):
        yield from _NAME.findall(configuration)
    elif isinstance(configuration, Mapping):
        for value in configuration.values():
            yield from stated_imports(value)
    elif isinstance(configuration, list | tuple):
        for value in configuration:
            yield from stated_imports(value)


def target_of(name: str, where: str) -> str:
    """Return ``package.module:Name`` of an imported component's name.

    Args:
        name: ``import:package.module:Name``.
        where: prefix of error messages.

    Raises:
        UserError: another form, or a module of Python itself, which makes no component.
    """
    target = name.removeprefix(IMPORT)
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise UserError(f"{where}: expected import:package.module:Name, got {name!r}")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise UserError(
            f"{where}: expected a module with components of i2ikd, got {name!r}, and {module!r} is a module of Python"
        )
    return target


def require_maker(found: Any, makes: str, where: str) -> None:
    """Check that an imported object is a class or function that can make a component of its kind; it is not called.

    Args:
        found: the imported object.
        makes: ``package.module:Class`` of which components of the kind are instances; empty if any object may be one.
        where: prefix of error messages.

    Raises:
        UserError: another object, a class that is no subclass, or a function that is annotated to return another type.
    """
    function = inspect.unwrap(found) if callable(found) else found
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not (inspect.isclass(function) or inspect.isfunction(function) or inspect.ismethod(function)):
        raise UserError(f"{where}: expected a class or function written in Python, got a {type(found).__name__}")
    if not makes:
        return
    expected, actual = import_target(makes), _product(function)
    if actual is None or issubclass(actual, expected):
        return
    if inspect.isclass(function) or not issubclass(expected, actual):
        raise UserError(
            f"{where}: expected a class or function that makes a {makes.replace(':', '.')}, got one that makes "
            f"a {actual.__name__}"
        )


def _product(function: Any) -> type | None:
    """Return the type that a class or function makes, as far as it is stated."""
    if inspect.isclass(function):
        return function
    try:
        hint = typing.get_type_hints(function).get("return")
    except Exception:  # hints of names that are imported for type checkers only
        return None
    made = typing.get_origin(hint) or hint
    return made if inspect.isclass(made) and made is not Any else None
