"""Conformance checks for plugins; each raises ``AssertionError`` with a message that names the violated rule."""

from __future__ import annotations

from i2ikd.testing.distiller_precision import check_distiller_precision
from i2ikd.testing.distillers import check_distiller
from i2ikd.testing.metrics import check_metric
from i2ikd.testing.models import check_model
from i2ikd.testing.plugins import check_plugin
from i2ikd.testing.tasks import check_task

__all__ = [
    "check_distiller",
    "check_distiller_precision",
    "check_metric",
    "check_model",
    "check_plugin",
    "check_task",
]
