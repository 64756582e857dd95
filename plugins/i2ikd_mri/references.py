"""Components that a task names in its options: a bare name, or a table of a name and options."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from i2ikd import Reference


def named(value: Any, default: str) -> Any:
    """``"x"`` is ``{name = "x"}``, and a table without a name is the default with these options.

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
