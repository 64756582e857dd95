"""Discovery of plugins by entry point, isolation of broken ones, and the registry of named components."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from types import MappingProxyType
from typing import Any

import pluggy

from i2ikd import hookspecs
from i2ikd.errors import UserError, nearest

KINDS = (
    "model", "pairs", "task", "dataset", "reader", "mask", "distiller", "recipe", "metric", "figure",
    "tracker", "exporter", "command",
)  # fmt: skip
_HOOKS = {f"register_{kind if kind == 'pairs' else kind + 's'}": kind for kind in KINDS}


@dataclass
class Plugin:
    """One discovered plugin and what became of it."""

    name: str
    distribution: str = ""
    version: str = ""
    module: Any = None
    problem: str = ""
    """Why it is not in use; empty when it is."""
    provides: list[Component] = field(default_factory=list)

    @property
    def label(self) -> str:
        """``name (distribution version)``."""
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


@dataclass(frozen=True)
class Component:
    """A named component with its provenance."""

    kind: str
    name: str
    target: Callable[..., Any] | str
    plugin: Plugin = field(repr=False)
    summary: str = ""
    metadata: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def resolve(self) -> Callable[..., Any]:
        """Import the target, on first use.

        Raises:
            UserError: the import fails; the message names the plugin.
        """
        if not isinstance(self.target, str):
            return self.target
        try:
            found = import_target(self.target)
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.kind} {self.name!r} of the plugin {self.plugin.label} cannot be loaded from "
                f"{self.target!r}: {_reason(error)}"
            ) from error
        if not callable(found):
            raise UserError(
                f"{self.kind} {self.name!r} of the plugin {self.plugin.label}: {self.target!r} is a "
                f"{type(found).__name__}, which cannot be called"
            )
        return found

    def create(self, options: dict[str, Any] | None = None, where: str = "") -> Any:
        """Check the options and call the target.

        Raises:
            UserError: wrong options, or a factory that raises; the message names the plugin.
        """
        from i2ikd.options import check  # brings pydantic, which `--help` and `list` do without

        target = self.resolve()
        checked = check(target, options or {}, where or f"{self.kind} {self.name!r}")
        try:
            return target(**checked)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{self.kind} {self.name!r} of the plugin {self.plugin.label} failed to start: {_reason(error)}"
            ) from error


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"


def import_target(text: str) -> Any:
    """Import ``package.module:attribute``."""
    module, _, attribute = text.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


class Registry:
    """The plugins of one process and what they registered."""

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.strict = os.environ.get("I2IKD_STRICT_PLUGINS") == "1"
        for plugin in plugins:
            self.add(plugin)

    @classmethod
    def discover(cls) -> Registry:
        """Load every entry point of the group ``i2ikd``; a broken plugin costs one line on stderr."""
        registry = cls()
        blocked = {n.strip() for n in os.environ.get("I2IKD_DISABLE_PLUGINS", "").split(",") if n.strip()}
        points = sorted(metadata.entry_points(group=hookspecs.GROUP), key=lambda p: (p.name != "builtin", p.name))
        for point in points:
            distribution = point.dist.name if point.dist else ""
            version = point.dist.version if point.dist else ""
            plugin = Plugin(point.name, distribution, version)
            if point.name in blocked:
                plugin.problem = "blocked by I2IKD_DISABLE_PLUGINS"
                registry.plugins.append(plugin)
                continue
            try:
                plugin.module = point.load()
            except (Exception, SystemExit) as error:
                registry._set_aside(plugin, error)
                continue
            registry.add(plugin)
        return registry

    def add(self, plugin: Plugin) -> None:
        """Register one loaded plugin; whatever is wrong with it is kept as its ``problem``."""
        if self._manager.is_registered(plugin.module):
            owner = next(p.label for p in self.plugins if p.module is plugin.module and not p.problem)
            self._set_aside(plugin, UserError(f"its module is already in use as the plugin {owner}"))
            return
        try:
            self._manager.register(plugin.module, name=f"{plugin.distribution}:{plugin.name}")
            self._refuse_unusable_hooks(plugin)
            for hook, kind in _HOOKS.items():
                self._call(plugin, hook, register=self._register(plugin, kind))
        except (Exception, SystemExit) as error:
            if self._manager.is_registered(plugin.module):
                self._manager.unregister(plugin.module)
            plugin.provides.clear()
            self._set_aside(plugin, error)
            return
        self.plugins.append(plugin)

    def _set_aside(self, plugin: Plugin, error: Exception | SystemExit) -> None:
        if self.strict:
            raise error
        plugin.problem = " ".join(str(error).split()) if isinstance(error, UserError) else _reason(error)
        self.plugins.append(plugin)
        print(f"i2ikd: the plugin {plugin.label} is broken and not used: {plugin.problem}", file=sys.stderr)

    def _refuse_unusable_hooks(self, plugin: Plugin) -> None:
        known = [name for name in vars(self._manager.hook) if not name.startswith("_")]
        specified = [n for n in known if getattr(self._manager.hook, n).has_spec()]
        for caller in self._manager.get_hookcallers(plugin.module) or []:
            if not caller.has_spec():
                raise UserError(f"there is no hook {caller.name!r}; {nearest(caller.name, specified)}")
            for implementation in caller.get_hookimpls():
                ours = implementation.plugin is plugin.module
                if ours and inspect.isgeneratorfunction(implementation.function):
                    raise UserError(f"{caller.name} is a hook wrapper, which is not supported; do not yield")

    def _register(self, plugin: Plugin, kind: str) -> hookspecs.Register:
        def register(name: str, target: Callable[..., Any] | str, *, summary: str = "", **metadata: str) -> None:
            if not name or ":" in name:
                raise UserError(f"{kind} name {name!r}: a name is not empty and has no ':'")
            if not (callable(target) or (isinstance(target, str) and ":" in target)):
                raise UserError(f"{kind} {name!r}: the target is a callable or 'package.module:attribute'")
            if any(c.kind == kind and c.name == name for c in plugin.provides):
                raise UserError(f"{kind} {name!r} is registered twice by one plugin")
            component = Component(kind, name, target, plugin, summary, MappingProxyType(dict(metadata)))
            plugin.provides.append(component)

        return register

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is plugin.module:
                implementation.function(**{name: arguments[name] for name in implementation.argnames})

    def notify(self, hook: str, context: Any) -> None:
        """Call a life-cycle hook, plugin by plugin; one that raises costs a line and stops nothing."""
        for plugin in self.plugins:
            if plugin.problem:
                continue
            try:
                self._call(plugin, hook, context=context)
            except Exception as error:
                if self.strict:
                    raise
                print(f"i2ikd: {hook} of the plugin {plugin.label} failed: {_reason(error)}", file=sys.stderr)

    def components(self, kind: str) -> list[Component]:
        """Everything of one kind, by name.

        Raises:
            UserError: there is no such kind.
        """
        if kind not in KINDS:
            raise UserError(f"there is no kind of component {kind!r}; {nearest(kind, KINDS)}")
        found = [c for plugin in self.plugins for c in plugin.provides if c.kind == kind]
        return sorted(found, key=lambda c: (c.name, c.plugin.name))

    def get(self, kind: str, name: str) -> Component:
        """Look up ``name``, or ``distribution:name``, or ``plugin:name``.

        Raises:
            UserError: unknown (with the nearest name and the broken plugins), or offered twice.
        """
        everything = self.components(kind)
        owner, _, short = name.rpartition(":")
        found = [c for c in everything if c.name == short]
        if owner:
            found = [c for c in found if owner in (c.plugin.distribution, c.plugin.name)]
        if len(found) == 1:
            return found[0]
        if found:
            distributions = {c.plugin.distribution for c in found}
            ways = [
                f"{c.plugin.distribution if len(distributions) == len(found) else c.plugin.name}:{short}" for c in found
            ]
            raise UserError(
                f"{kind} {name!r} is offered by {' and '.join(c.plugin.label for c in found)}; "
                f"write {' or '.join(repr(w) for w in ways)}"
            )
        message = f"unknown {kind} {name!r}; {nearest(short, [c.name for c in everything])}"
        broken = [f"{p.label}: {p.problem}" for p in self.plugins if p.problem]
        if broken:
            message += f" (plugins not in use: {'; '.join(broken)})"
        raise UserError(message)

    def create(self, kind: str, name: str, options: dict[str, Any] | None = None, where: str = "") -> Any:
        """Look up, check the options, and build."""
        return self.get(kind, name).create(options, where)


@cache
def default_registry() -> Registry:
    """The host of the command line and of the Python API: discovered once a process, on first use."""
    return Registry.discover()
