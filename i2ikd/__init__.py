"""Knowledge distillation of image-to-image networks; public names are imported on first use."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from i2ikd.errors import UserError
from i2ikd.hookspecs import hookimpl

if TYPE_CHECKING:
    from i2ikd.api import distill, load
    from i2ikd.bounded_cache import BoundedCache
    from i2ikd.callback import Callback, NullCallback
    from i2ikd.components import create, get, list_components
    from i2ikd.deploy.predictor import Predictor
    from i2ikd.distiller import Distiller, Features, Knowledge, TapShapes
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.experiment.tracking import TrackerCallback
    from i2ikd.export_form import ExportForm
    from i2ikd.exporter import Delivered, Exporter, ExportRequest
    from i2ikd.in_memory.comparison import compare
    from i2ikd.in_memory.results import ComparisonResult, DistillResult
    from i2ikd.inventory import FileSummary, Inventory, PassedOver, SplitInventory
    from i2ikd.loss_precision import at_least_float32, full_precision
    from i2ikd.metric import Metric
    from i2ikd.natural_order import natural_key
    from i2ikd.network import Student, Teacher, eval_mode
    from i2ikd.objective import Loss, Objective, ObjectiveContext, TeacherOutputs, TeacherRequest
    from i2ikd.preparation import Preparation
    from i2ikd.recipe import RecipeContext, Reference, Stage, Start, TapPairs, Term, WeightSchedule
    from i2ikd.registry import Registry, default_registry
    from i2ikd.sample import Batch, Sample, SampleKey
    from i2ikd.source import Reader, Volume, VolumeSource
    from i2ikd.taps import Taps
    from i2ikd.task import SampleDataset, Task
    from i2ikd.transform import Transform

__version__ = "0.1.0"

logging.getLogger("i2ikd").addHandler(logging.NullHandler())

_MODULES = {
    "api": ("distill", "load"),
    "bounded_cache": ("BoundedCache",),
    "callback": ("Callback", "NullCallback"),
    "components": ("create", "get", "list_components"),
    "deploy.predictor": ("Predictor",),
    "distiller": ("Distiller", "Features", "Knowledge", "TapShapes"),
    "export_form": ("ExportForm",),
    "engine.device": ("keep_large_blocks",),
    "experiment.tracking": ("TrackerCallback",),
    "exporter": ("Delivered", "ExportRequest", "Exporter"),
    "in_memory.comparison": ("compare",),
    "in_memory.results": ("ComparisonResult", "DistillResult"),
    "inventory": ("FileSummary", "Inventory", "PassedOver", "SplitInventory"),
    "loss_precision": ("at_least_float32", "full_precision"),
    "metric": ("Metric",),
    "natural_order": ("natural_key",),
    "network": ("Student", "Teacher", "eval_mode"),
    "objective": ("Loss", "Objective", "ObjectiveContext", "TeacherOutputs", "TeacherRequest"),
    "preparation": ("Preparation",),
    "recipe": ("RecipeContext", "Reference", "Stage", "Start", "TapPairs", "Term", "WeightSchedule"),
    "registry": ("Registry", "default_registry"),
    "sample": ("Batch", "Sample", "SampleKey"),
    "source": ("Reader", "Volume", "VolumeSource"),
    "taps": ("Taps",),
    "task": ("SampleDataset", "Task"),
    "transform": ("Transform",),
}
_MODULE_OF = {name: f"i2ikd.{module}" for module, names in _MODULES.items() for name in names}

__all__ = [
    "Batch", "BoundedCache", "Callback", "ComparisonResult", "Delivered", "DistillResult", "Distiller", "ExportForm",
    "ExportRequest", "Exporter", "Features", "FileSummary", "Inventory", "Knowledge", "Loss", "Metric",
    "NullCallback", "Objective", "ObjectiveContext", "PassedOver", "Predictor", "Preparation", "Reader",
    "RecipeContext", "Reference", "Registry", "Sample", "SampleDataset", "SampleKey", "SplitInventory", "Stage",
    "Start", "Student", "TapPairs", "TapShapes", "Taps", "Task", "Teacher", "TeacherOutputs", "TeacherRequest",
    "Term", "TrackerCallback", "Transform", "UserError", "Volume", "VolumeSource", "WeightSchedule",
    "at_least_float32", "compare", "create", "default_registry", "distill", "eval_mode", "full_precision", "get",
    "hookimpl", "keep_large_blocks", "list_components", "load", "natural_key",
]  # fmt: skip


if not TYPE_CHECKING:  # type checkers know the names, and report others

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            return getattr(importlib.import_module(_MODULE_OF[name]), name)
        raise AttributeError(f"module 'i2ikd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
