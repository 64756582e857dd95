"""Conformance check of plugin modules: ``check_plugin``."""

from __future__ import annotations

from typing import Any

from i2ikd import hookspecs
from i2ikd.component import Component, Plugin
from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.registry import Registry, default_registry

_MARK = f"{hookspecs.GROUP}_impl"


def check_plugin(module: Any) -> None:
    """Check the hooks of a plugin, its registration, and that every registered target can be imported.

    Args:
        module: the module that the entry point names.

    Raises:
        AssertionError: a violated rule, named in the message.
    """
    name = getattr(module, "__name__", type(module).__name__)
    specified = [hook for hook, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.GROUP}_spec")]
    marked = [attribute for attribute in dir(module) if hasattr(getattr(module, attribute), _MARK)]
    for attribute in dir(module):
        is_hook = attribute in specified or attribute.startswith("register_")
        if is_hook and callable(getattr(module, attribute)):
            assert attribute in marked, f"{name}.{attribute} is not marked with @i2ikd.hookimpl: it is never called"
    assert marked, f"{name} has no function marked with @i2ikd.hookimpl: it registers nothing"

    registry = Registry(
        Plugin(other.name, other.distribution, other.version, other.module)
        for other in default_registry().plugins  # they may define kinds of which this plugin has components
        if not other.problem and other.module is not module
    )
    registry.strict = True
    plugin = Plugin(name, module=module)
    try:
        registry.add(plugin)
    except Exception as error:
        raise AssertionError(f"{name} cannot be registered: {type(error).__name__}: {error}") from error
    for component in plugin.provides:
        _check_component(name, component)


def _check_component(plugin: str, component: Component) -> None:
    """Check the summary and the target of one component."""
    place = f"{plugin}: the {component.kind} {component.name!r}"
    assert component.summary, f"{place} has no summary, which `i2ikd list` shows"
    assert "\n" not in component.summary, f"{place}: expected a summary of one line, got {component.summary!r}"
    try:
        target = component.resolve()
    except UserError as error:
        raise AssertionError(str(error)) from error
    if component.kind == "command":
        return
    try:
        check(target, {}, place)
    except UserError as error:
        has_required_options = str(error).endswith("is missing")
        assert has_required_options, str(error)
