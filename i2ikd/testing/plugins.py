"""What every plugin module must satisfy: ``check_plugin``."""

from __future__ import annotations

from typing import Any

from i2ikd import hookspecs
from i2ikd.component import Component, Plugin
from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.registry import Registry, default_registry

_MARK = f"{hookspecs.GROUP}_impl"


def check_plugin(module: Any) -> None:
    """Check that a plugin's hooks are spelled right and marked, that it registers, and that every target resolves.

    Args:
        module: what the entry point names.

    Raises:
        AssertionError: with a sentence that says which rule is broken.
    """
    name = getattr(module, "__name__", type(module).__name__)
    specified = [hook for hook, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.GROUP}_spec")]
    marked = [attribute for attribute in dir(module) if hasattr(getattr(module, attribute), _MARK)]
    for attribute in dir(module):
        meant = attribute in specified or attribute.startswith("register_")
        if meant and callable(getattr(module, attribute)):
            assert attribute in marked, f"{name}.{attribute} is not marked with @i2ikd.hookimpl: it is never called"
    assert marked, f"{name} has no function marked with @i2ikd.hookimpl: as a plugin it does nothing"

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
        _resolves(name, component)


def _resolves(plugin: str, component: Component) -> None:
    place = f"{plugin}: the {component.kind} {component.name!r}"
    assert component.summary, f"{place} has no summary: `i2ikd list` would show an empty line"
    assert "\n" not in component.summary, f"{place}: the summary is one line"
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
