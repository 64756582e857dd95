"""Attribution of an unexpected exception: which plugin's code raised it."""

from __future__ import annotations

from types import TracebackType

from i2ikd.component import reason
from i2ikd.registry import Registry

_CHAIN = 5
"""Exceptions of a chain that are inspected."""
_PATIENCE = 200
"""Frames of a traceback that are inspected, from the innermost; a recursion has thousands."""


def describe_error(error: BaseException, registry: Registry) -> str:
    """Return an unexpected exception as one line, with the plugin whose code raised it.

    Args:
        error: the exception.
        registry: its plugins are the candidates.
    """
    modules = _modules(error)
    packages = {
        _package(plugin.module.__name__): plugin for plugin in registry.plugins if hasattr(plugin.module, "__name__")
    }
    packages.pop("i2ikd", None)
    for module in modules:
        plugin = packages.get(_package(module))
        if plugin is not None:
            return f"the plugin {plugin.label} failed: {reason(error)}"
    place = next((module for module in modules if module != "__main__"), "i2ikd")
    return f"{reason(error)} (in {place}); I2IKD_TRACEBACK=1 prints the whole traceback"


def _modules(error: BaseException) -> list[str]:
    """Return the modules of an exception's frames, the innermost first, then those of the exception it came from."""
    names: list[str] = []
    current: BaseException | None = error
    for _ in range(_CHAIN):
        if current is None:
            break
        names += _frames(current.__traceback__)
        current = current.__cause__ or current.__context__
    return names


def _frames(trace: TracebackType | None) -> list[str]:
    names: list[str] = []
    while trace is not None:
        names.append(str(trace.tb_frame.f_globals.get("__name__", "")))
        trace = trace.tb_next
    return names[::-1][:_PATIENCE]


def _package(module: str) -> str:
    return module.partition(".")[0]
