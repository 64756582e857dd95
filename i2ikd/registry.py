"""Discovery of plugins by entry point, isolation of broken ones, and named components by kind."""

from __future__ import annotations

import copy
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata as distributions
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pluggy

from i2ikd import hookspecs
from i2ikd.component import Component, Kind, Plugin, reason
from i2ikd.errors import UserError, nearest
from i2ikd.global_state import kept_global_state
from i2ikd.imported import IMPORT, target_of

CORE_KINDS = (
    Kind("model", "models", makes="torch.nn:Module"),
    Kind("pairs", "pairs"),
    Kind("task", "tasks", makes="i2ikd.task:Task"),
    Kind("dataset", "datasets"),
    Kind("reader", "readers"),
    Kind("distiller", "distillers", makes="i2ikd.distiller:Distiller"),
    Kind("objective", "objectives", makes="i2ikd.objective:Objective"),
    Kind("transform", "transforms", makes="i2ikd.transform:Transform"),
    Kind("combination", "combinations", makes="torch.nn:Module"),
    Kind("recipe", "recipes", makes="builtins:list"),
    Kind("metric", "metrics", makes="i2ikd.metric:Metric"),
    Kind("figure", "figures"),
    Kind("tracker", "trackers"),
    Kind("exporter", "exporters"),
    Kind("bundle", "bundles", makes="pathlib:Path"),
    Kind("command", "commands"),
)


_LONGEST_NAME = 200


class Registry:
    """The plugins of one process and the components they registered.

    Plugins are registered together: first their kinds, then their components, so that the order of plugins does not
    matter. A plugin that raises is set aside with its reason and leaves nothing behind.

    Args:
        plugins: loaded plugins.
    """

    def __init__(self, plugins: Iterable[Plugin] = ()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._kinds = {kind.name: kind for kind in CORE_KINDS}
        self._imports: frozenset[str] | None = None
        self.plugins: list[Plugin] = []
        self.strict = os.environ.get("I2IKD_STRICT_PLUGINS") == "1"
        self.add(*plugins)

    @classmethod
    def discover(cls) -> Registry:
        """Load every entry point of the group ``i2ikd``; a broken plugin costs one line on stderr."""
        registry = cls()
        blocked = {n.strip() for n in os.environ.get("I2IKD_DISABLE_PLUGINS", "").split(",") if n.strip()}
        points = sorted(distributions.entry_points(group=hookspecs.GROUP), key=lambda p: (p.name != "builtin", p.name))
        loaded = []
        for point in points:
            distribution = point.dist.name if point.dist else ""
            version = point.dist.version if point.dist else ""
            plugin = Plugin(point.name, distribution, version)
            if point.name in blocked:
                plugin.problem = "blocked by I2IKD_DISABLE_PLUGINS"
                registry.plugins.append(plugin)
                continue
            try:
                with kept_global_state(f"the plugin {plugin.label}"):
                    plugin.module = point.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                registry._set_aside(plugin, error)
                continue
            loaded.append(plugin)
        registry.add(*loaded)
        return registry

    def restricted(self, imports: Iterable[str]) -> Registry:
        """Return a view of this registry for a configuration that came with data: it imports no other code.

        Registered components are those of this registry, nested ones included.

        Args:
            imports: names, ``import:package.module:Name``, that the user's own experiment states.
        """
        view = copy.copy(self)
        view._imports = frozenset(imports)
        return view

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Every kind by name: those of the core, then those of plugins."""
        return MappingProxyType(self._kinds)

    def add(self, *plugins: Plugin) -> None:
        """Register loaded plugins; the error of a faulty one is stored as its ``problem``."""
        sound = [plugin for plugin in plugins if self._attempt(plugin, self._register_kinds)]
        for plugin in sound:
            self._attempt(plugin, self._register_components)

    def _attempt(self, plugin: Plugin, step: Callable[[Plugin], None]) -> bool:
        """Run one step of a registration; undo everything of the plugin where the step raises.

        Kinds that it has defined stay: other plugins may have components of them.
        """
        try:
            with kept_global_state(f"the plugin {plugin.label}"):
                step(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if plugin in self.plugins:
                self.plugins.remove(plugin)
                if self._manager.is_registered(plugin.module):
                    self._manager.unregister(plugin.module)
            plugin.provides.clear()
            self._set_aside(plugin, error)
            return False
        return True

    def _register_kinds(self, plugin: Plugin) -> None:
        """Define the kinds of a plugin, before pluggy compares the hooks of any plugin with their specifications."""
        owner = next((p for p in self.plugins if p.module is plugin.module and not p.problem), None)
        if owner is not None:
            raise UserError(f"its module is already in use as the plugin {owner.label}")
        alone = pluggy.PluginManager(hookspecs.GROUP)
        alone.add_hookspecs(hookspecs)
        alone.register(plugin.module)
        defined: list[Kind] = []

        def register_kind(name: str, plural: str = "", *, summary: str = "") -> None:
            defined.append(self._checked(Kind(name, plural or f"{name}s", summary), defined))

        alone.hook.register_kinds(register_kind=register_kind)
        for kind in defined:
            self._define(kind)
        self.plugins.append(plugin)

    def _checked(self, kind: Kind, defined: Iterable[Kind]) -> Kind:
        names = (kind.name, kind.plural)
        if not all(name.isidentifier() and name.islower() for name in names):
            raise UserError(f"kind {kind.name!r}: expected lower-case identifiers, singular and plural, got {names}")
        for other in (*self._kinds.values(), *defined):
            if kind.name == other.name or kind.plural == other.plural:
                raise UserError(f"kind {kind.name!r}: a kind of this name or with the hook {kind.hook!r} exists")
        return kind

    def _define(self, kind: Kind) -> None:
        def register(register: hookspecs.Register) -> None:
            """Register components of a kind that a plugin defined."""

        specification = {kind.hook: staticmethod(hookspecs.hookspec(register))}
        self._manager.add_hookspecs(type("PluginDefinedHook", (), specification))
        self._kinds[kind.name] = kind

    def _register_components(self, plugin: Plugin) -> None:
        self._manager.register(plugin.module, name=f"{plugin.distribution}:{plugin.name}")
        self._refuse_unusable_hooks(plugin)
        for kind in self._kinds.values():
            self._call(plugin, kind.hook, register=self._register(plugin, kind.name))

    def _set_aside(self, plugin: Plugin, error: BaseException) -> None:
        if self.strict:
            raise error
        plugin.problem = " ".join(str(error).split()) if isinstance(error, UserError) else reason(error)
        self.plugins.append(plugin)
        print(f"i2ikd: the plugin {plugin.label} is broken and not used: {plugin.problem}", file=sys.stderr)

    def _refuse_unusable_hooks(self, plugin: Plugin) -> None:
        known = [name for name in vars(self._manager.hook) if not name.startswith("_")]
        specified = [n for n in known if getattr(self._manager.hook, n).has_spec()]
        for caller in self._manager.get_hookcallers(plugin.module) or []:
            if not caller.has_spec():
                raise UserError(f"there is no hook {caller.name!r}; {nearest(caller.name, specified)}")
            for implementation in caller.get_hookimpls():
                own = implementation.plugin is plugin.module
                if own and inspect.isgeneratorfunction(implementation.function):
                    raise UserError(f"{caller.name} is a hook wrapper, which is not supported; do not yield")

    def _register(self, plugin: Plugin, kind: str) -> hookspecs.Register:
        registered: set[str] = set()

        def register(name: str, target: Callable[..., Any] | str, *, summary: str = "", **metadata: str) -> None:
            if not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()) or ":" in name:
                raise UserError(
                    f"{kind} name {ascii(name)[:_LONGEST_NAME]}: a name is not empty and has no ':', and at most "
                    f"{_LONGEST_NAME} printable characters"
                )
            if not (callable(target) or (isinstance(target, str) and ":" in target)):
                raise UserError(f"{kind} {name!r}: the target is a callable or 'package.module:attribute'")
            if name in registered:
                raise UserError(f"{kind} {name!r} is registered twice by one plugin")
            registered.add(name)
            component = Component(kind, name, target, plugin, summary, MappingProxyType(dict(metadata)))
            plugin.provides.append(component)

        return register

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> None:
        """Call a hook of one plugin alone."""
        others = [module for module in self._manager.get_plugins() if module is not plugin.module]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def notify(self, hook: str, context: Any) -> None:
        """Call a life-cycle hook, plugin by plugin; one that raises costs a line on stderr and stops nothing."""
        for plugin in self.plugins:
            if plugin.problem:
                continue
            try:
                with kept_global_state(f"the plugin {plugin.label}"):
                    self._call(plugin, hook, context=context)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if self.strict:
                    raise
                print(f"i2ikd: {hook} of the plugin {plugin.label} failed: {reason(error)}", file=sys.stderr)

    def components(self, kind: str) -> list[Component]:
        """Return every component of a kind, sorted by name.

        Raises:
            UserError: there is no such kind.
        """
        if kind not in self._kinds:
            raise UserError(f"there is no kind of component {kind!r}; {nearest(kind, self._kinds)}")
        found = [c for plugin in self.plugins for c in plugin.provides if c.kind == kind]
        return sorted(found, key=lambda c: (c.name, c.plugin.name))

    def get(self, kind: str, name: str, where: str = "") -> Component:
        """Return the component ``name``, ``distribution:name``, ``plugin:name`` or ``import:package.module:Name``.

        Args:
            kind: of the component.
            name: in one of these forms.
            where: how a message names an imported component; its kind and name unless given.

        Raises:
            UserError: unknown (with the nearest name and the plugins not in use), registered twice, or an import that
                this registry does not permit.
        """
        everything = self.components(kind)
        if name.startswith(IMPORT):
            return self._imported(kind, name, where or f"{kind} {name!r}")
        owner, _, short = name.rpartition(":")
        found = [c for c in everything if c.name == short]
        if owner:
            found = [c for c in found if owner in (c.plugin.distribution, c.plugin.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(_ambiguous(kind, name, short, found))
        message = f"unknown {kind} {name!r}; {nearest(short, [c.name for c in everything])}"
        unused = [f"the plugin {p.label} is not in use: {p.problem}" for p in self.plugins if p.problem]
        raise UserError(message, unused)

    def _imported(self, kind: str, name: str, where: str) -> Component:
        """Return an unregistered component; the working directory is on the path, as for ``python -m``."""
        target = target_of(name, where)
        if self._imports is not None and name not in self._imports:
            stated = where if name in where else f"{where}: {name!r}"
            raise UserError(
                f"{stated} stands in a file that came with the run; add --trust (trust=True in Python) to run its code"
            )
        directory = str(Path.cwd())
        if directory not in sys.path:
            sys.path.insert(0, directory)
        return Component(kind, name, target, Plugin("imported"), makes=self._kinds[kind].makes)

    def create(self, kind: str, name: str, options: Mapping[str, Any] | None = None, where: str = "") -> Any:
        """Look a component up, check its options and build it; see ``get`` and ``Component.create``."""
        return self.get(kind, name, where).create(options, where, self)


def _ambiguous(kind: str, name: str, short: str, found: list[Component]) -> str:
    distinct = len({c.plugin.distribution for c in found}) == len(found)
    ways = [f"{c.plugin.distribution if distinct else c.plugin.name}:{short}" for c in found]
    return (
        f"{kind} {name!r} is registered by {' and '.join(c.plugin.label for c in found)}; "
        f"write {' or '.join(repr(way) for way in ways)}"
    )


@cache
def default_registry() -> Registry:
    """Return the registry of the command line and of the Python API, discovered once a process, on first use."""
    return Registry.discover()
