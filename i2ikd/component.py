"""A plugin, the components it registers, and how a component is resolved and created."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from i2ikd.errors import UserError

if TYPE_CHECKING:
    from i2ikd.recipe import RecipeContext
    from i2ikd.registry import Registry

IMPORT = "import:"
"""Prefix of a component that is not registered: ``import:package.module:Name``."""


@dataclass
class Plugin:
    """One discovered plugin and its state."""

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
class Kind:
    """A kind of component and the hook in which plugins register components of it."""

    name: str
    plural: str
    summary: str = ""

    @property
    def hook(self) -> str:
        """Name of the registration hook."""
        return f"register_{self.plural}"


@dataclass(frozen=True)
class Component:
    """A named component with its provenance."""

    kind: str
    name: str
    target: Callable[..., Any] | str
    plugin: Plugin = field(repr=False)
    summary: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def _described(self, where: str) -> str:
        """Return how messages name it: with its plugin, or an imported one by the place that states it."""
        name = f"{self.kind} {self.name!r}"
        return (where or name) if self.name.startswith(IMPORT) else f"{name} of the plugin {self.plugin.label}"

    def resolve(self, where: str = "") -> Callable[..., Any]:
        """Import the target, on first use.

        Args:
            where: how a message names an imported component; its kind and name unless given.

        Returns:
            The class or factory.

        Raises:
            UserError: the import fails or finds something that cannot be called; the message names the plugin.
        """
        if not isinstance(self.target, str):
            return self.target
        try:
            found = import_target(self.target)
        except (Exception, SystemExit) as error:
            raise UserError(f"{self._described(where)}: cannot import {self.target!r}: {reason(error)}") from error
        if not callable(found):
            raise UserError(
                f"{self._described(where)}: expected {self.target!r} to be a class or function, got a "
                f"{type(found).__name__}"
            )
        return found

    def create(
        self,
        options: Mapping[str, Any] | None = None,
        where: str = "",
        registry: Registry | None = None,
        recipe_context: RecipeContext | None = None,
    ) -> Any:
        """Check the options against the target's typed arguments and call it.

        Args:
            options: keyword arguments.
            where: how a message names the component; its kind and name unless given.
            registry: passed to a target that has an argument ``registry``.
            recipe_context: passed to a recipe that has an argument ``recipe_context``.

        Raises:
            UserError: wrong options, or a factory that raises; the message names the plugin.
        """
        from i2ikd.options import check, provided  # pydantic, which `--help` does without

        target = self.resolve(where)
        arguments = check(target, options or {}, where or f"{self.kind} {self.name!r}")
        arguments |= provided(target, {"registry": registry, "recipe_context": recipe_context})
        try:
            return target(**arguments)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self._described(where)} failed to start: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an exception as one line: its type and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}"


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
