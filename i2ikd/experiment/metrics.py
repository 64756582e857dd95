"""Metrics of a comparison: the task's default set, and those that the experiment adds with options."""

from __future__ import annotations

from i2ikd.experiment.context import ExperimentContext
from i2ikd.metric import Metric
from i2ikd.recipe import Reference


def metric_name(reference: Reference) -> str:
    """Return a metric's name in the records, with the options that differ from its defaults.

    >>> metric_name(Reference.model_validate({"name": "hfn-slice", "high": 255}))
    'hfn-slice(high=255)'
    """
    options = ", ".join(f"{name}={value}" for name, value in sorted(reference.options.items()))
    return f"{reference.name}({options})" if options else reference.name


def table_metrics(context: ExperimentContext) -> tuple[dict[str, str], dict[str, Metric]]:
    """Return the table's columns with their metrics' names in the records, and the metrics by that name.

    Raises:
        UserError: an unknown metric, or wrong options.
    """
    stated = {column: Reference(name=name) for column, name in context.task.columns.items()}
    stated |= context.experiment.comparison.metrics
    columns = {column: metric_name(reference) for column, reference in stated.items()}
    metrics: dict[str, Metric] = {
        metric_name(reference): context.registry.create(
            "metric", reference.name, reference.options, f"metric of the column {column!r}"
        )
        for column, reference in stated.items()
    }
    return columns, metrics
