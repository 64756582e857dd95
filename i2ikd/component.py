"""A plugin, the components it registers, and how a component is resolved and created."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from i2ikd.errors import UserError
from i2ikd.global_state import kept_global_state
from i2ikd.imported import IMPORT, import_target, require_maker

if TYPE_CHECKING:
    from i2ikd.recipe import RecipeContext
    from i2ikd.registry import Registry


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
    makes: str = ""
    """``package.module:Class`` of which its components are instances; empty if any object may be one."""

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
    makes: str = ""
    """Of its kind."""

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
            with kept_global_state(self._described(where)):
                found = import_target(self.target)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise UserError(f"{self._described(where)}: cannot import {self.target!r}: {reason(error)}") from error
        if self.name.startswith(IMPORT):
            require_maker(found, self.makes, f"{self._described(where)}: {self.name}")
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
            with kept_global_state(self._described(where)):
                return target(**arguments)
        except (UserError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise UserError(f"{self._described(where)} failed to start: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return an exception as one line: its type and its message."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception of a plugin may have a broken __str__
        text = ""
    return f"{type(error).__name__}: {text or 'no reason given'}"
