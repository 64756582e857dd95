"""Option types for components named in a task: a name, or a table of a name and options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from i2ikd import Reference


def named(value: Any, default: str) -> Any:
    """Convert ``"x"`` to ``{name = "x"}``, and complete a table without a name with ``default``.

    Args:
        value: a name, a table, or any other value, which is returned unchanged for the validation that follows.
        default: name of the component that a table without a name configures.

    >>> named("phantom", "folder")
    {'name': 'phantom'}
    >>> named({"root": "data"}, "folder")
    {'name': 'folder', 'root': 'data'}
    """
    if isinstance(value, str):
        return {"name": value}
    return {"name": default, **value} if isinstance(value, Mapping) else value


DatasetRef = Annotated[Reference, BeforeValidator(partial(named, default="folder"))]
MaskRef = Annotated[Reference, BeforeValidator(partial(named, default="variable-density"))]
FastMriMaskRef = Annotated[Reference, BeforeValidator(partial(named, default="fastmri-random"))]
CoilMapsRef = Annotated[Reference, BeforeValidator(partial(named, default="low-resolution"))]
