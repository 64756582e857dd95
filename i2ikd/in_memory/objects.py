"""Components that are passed as objects: registered under names of their own in the registry of one call."""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from i2ikd.component import Plugin
from i2ikd.distiller import Distiller
from i2ikd.errors import UserError
from i2ikd.hookspecs import Register, hookimpl
from i2ikd.recipe import OBJECT, Reference, Stage
from i2ikd.registry import Registry

Method = str | Stage | list[Stage] | Distiller | type[Distiller]
"""How a student is trained: a recipe by name, stages, or a distiller beside the target."""


class Objects:
    """Collects objects by kind and name, and registers them like a plugin.

    The name of an object contains a digest of its content, so that runs of an output folder are found again.
    """

    def __init__(self) -> None:
        self._targets: dict[str, dict[str, Callable[..., Any]]] = {"model": {}, "task": {}, "distiller": {}}

    def add(self, kind: str, target: Callable[..., Any], label: str, identity: str) -> str:
        """Add a factory, and return the name under which it is registered.

        Args:
            kind: ``model``, ``task`` or ``distiller``.
            target: the factory.
            label: leading part of the name.
            identity: text that changes with what the factory makes.
        """
        short = re.sub(r"[^A-Za-z0-9._-]", "", label)[:60] or "object"
        name = f"{short}-{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        self._targets[kind][name] = target
        return name

    def registry(self, base: Registry) -> Registry:
        """Return a registry of the plugins of ``base`` and of the objects."""
        known = [Plugin(p.name, p.distribution, p.version, p.module) for p in base.plugins if not p.problem]
        return Registry([*known, Plugin("python", module=self)])

    @hookimpl
    def register_models(self, register: Register) -> None:
        """Register networks."""
        self._register("model", register)

    @hookimpl
    def register_tasks(self, register: Register) -> None:
        """Register the task."""
        self._register("task", register)

    @hookimpl
    def register_distillers(self, register: Register) -> None:
        """Register distillers."""
        self._register("distiller", register)

    def _register(self, kind: str, register: Register) -> None:
        for name, target in self._targets[kind].items():
            register(name, target, summary="passed as an object")

    def named(self, value: Any, where: str) -> Any:
        """Return a nesting of options with names in place of distillers; other values are unchanged.

        Args:
            value: an option, such as a distiller, a table ``{"name": Distiller, ...}`` or a list of stages.
            where: prefix of error messages.

        Raises:
            UserError: a class or an object that is no distiller.
        """
        if isinstance(value, Reference):
            return self.named({"name": value.name, **value.options}, where)
        if isinstance(value, Stage):
            return self.named(value.model_dump(exclude_defaults=True, by_alias=True), where)
        if isinstance(value, Mapping):
            parts = {str(key): part for key, part in value.items()}
            target = parts.pop(OBJECT, parts.get("name"))
            if target is not None and not isinstance(target, str):
                parts.pop("name", None)
                return {"name": self._distiller(target, where), **self.named(parts, where)}
            return {key: self.named(part, where) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.named(part, where) for part in value]
        if isinstance(value, nn.Module | type):
            return self._distiller(value, where)
        return value

    def _distiller(self, value: Any, where: str) -> str:
        """Register a distiller's class or instance, and return its name."""
        if isinstance(value, type) and issubclass(value, Distiller):
            return self.add("distiller", value, value.__name__, source_of(value))
        if isinstance(value, Distiller):
            return self.add("distiller", _Copies(value), type(value).__name__, identity_of(value))
        found = value.__name__ if isinstance(value, type) else f"a {type(value).__name__}"
        raise UserError(f"{where}: expected an i2ikd.Distiller, its class or its name, got {found}")


class _Copies:
    """Factory of copies of one distiller: every stage and run trains its own."""

    def __init__(self, distiller: Distiller) -> None:
        self._distiller = distiller
        self.uses_teacher = distiller.uses_teacher

    def __call__(self) -> Distiller:
        return copy.deepcopy(self._distiller)


def identity_of(module: nn.Module) -> str:
    """Return a text that changes with the structure, the weights, the attributes or the source code of a module."""
    text = hashlib.sha256()
    for path, part in module.named_modules():
        own = {name: repr(value) for name, value in vars(part).items() if isinstance(value, str | int | float | tuple)}
        text.update(f"{path} {source_of(type(part))} {sorted(own.items())}".encode("utf-8", "surrogatepass"))
    for name, tensor in module.state_dict().items():
        text.update(f"{name} {tuple(tensor.shape)} {getattr(tensor, 'dtype', '')}".encode())
        if isinstance(tensor, torch.Tensor):
            text.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return text.hexdigest()


def source_of(target: Callable[..., Any] | type) -> str:
    """Return the qualified name of a class or function, with its source code where there is any."""
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', type(target).__qualname__)}"
    if name.startswith("torch."):
        return name
    try:
        return f"{name}\n{inspect.getsource(target)}"
    except (OSError, TypeError):  # defined in an interactive session
        code = getattr(target, "__code__", None)
        return name if code is None else f"{name}\n{code.co_code.hex()} {code.co_consts}"
