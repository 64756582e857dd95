"""i2ikd distils large image-to-image networks into small ones. Public names are lazy: importing this is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from i2ikd.errors import UserError
from i2ikd.hookspecs import hookimpl

if TYPE_CHECKING:
    from i2ikd.bounded_cache import BoundedCache
    from i2ikd.distiller import Distiller, Features, Knowledge, TapShapes
    from i2ikd.loss_precision import at_least_float32, full_precision
    from i2ikd.metric import Metric
    from i2ikd.recipe import Reference, Stage, TapPairs, Term
    from i2ikd.sample import Batch, Sample, SampleKey
    from i2ikd.source import Reader, Volume, VolumeSource
    from i2ikd.taps import Taps
    from i2ikd.task import SampleDataset, Task

__version__ = "0.1.0"

_WHERE = {
    "Batch": "i2ikd.sample",
    "BoundedCache": "i2ikd.bounded_cache",
    "Distiller": "i2ikd.distiller",
    "Features": "i2ikd.distiller",
    "Knowledge": "i2ikd.distiller",
    "Metric": "i2ikd.metric",
    "Reader": "i2ikd.source",
    "Reference": "i2ikd.recipe",
    "Sample": "i2ikd.sample",
    "SampleDataset": "i2ikd.task",
    "SampleKey": "i2ikd.sample",
    "Stage": "i2ikd.recipe",
    "TapPairs": "i2ikd.recipe",
    "TapShapes": "i2ikd.distiller",
    "Taps": "i2ikd.taps",
    "Task": "i2ikd.task",
    "Term": "i2ikd.recipe",
    "Volume": "i2ikd.source",
    "VolumeSource": "i2ikd.source",
    "DistillResult": "i2ikd.api",
    "at_least_float32": "i2ikd.loss_precision",
    "create": "i2ikd.components",
    "distill": "i2ikd.api",
    "full_precision": "i2ikd.loss_precision",
    "load": "i2ikd.api",
    "get": "i2ikd.components",
    "list_components": "i2ikd.components",
}

__all__ = [
    "Batch",
    "BoundedCache",
    "DistillResult",
    "Distiller",
    "Features",
    "Knowledge",
    "Metric",
    "Reader",
    "Reference",
    "Sample",
    "SampleDataset",
    "SampleKey",
    "Stage",
    "TapPairs",
    "TapShapes",
    "Taps",
    "Task",
    "Term",
    "UserError",
    "Volume",
    "VolumeSource",
    "at_least_float32",
    "create",
    "distill",
    "full_precision",
    "get",
    "hookimpl",
    "list_components",
    "load",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'i2ikd' has no attribute {name!r}")
