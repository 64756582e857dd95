"""Evaluation of one trained run on a split of its experiment's task, or of another experiment's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, pivot
from i2ikd.evaluation.statistics import Estimate, interval
from i2ikd.experiment.finished import context_of, finished_network
from i2ikd.experiment.metrics import table_metrics

Scores = dict[str, dict[str, Estimate]]
"""Estimates by row and column."""


def evaluate_run(
    run: Path, experiment: Path | None, overrides: Sequence[str], split: str, trust: bool = False
) -> tuple[Scores, list[Record]]:
    """Evaluate a run and the baselines of its task.

    Args:
        run: folder of the run.
        experiment: TOML file of the experiment whose task is used; ``None``: the experiment of the run's output folder.
        overrides: ``key.path=value`` texts, applied to the experiment in order.
        split: ``train``, ``val`` or ``test``.
        trust: whether code that the run's files name is imported.

    Returns:
        Scores by row and column, and records per volume and slice.

    Raises:
        UserError: the run is not finished, no experiment is found, or its data are invalid.
    """
    context = context_of(run, experiment, overrides, trust)
    columns, metrics = table_metrics(context)
    dataset = context.dataset(split)
    network = finished_network(context.registry, run, context.experiment)
    records = evaluate_baselines(context.task, dataset, metrics)
    records += evaluate_network(network, context.task, dataset, metrics, "network", NO_SEED, context.device)
    tables = {column: pivot(records, metric) for column, metric in columns.items()}
    arms = list(dict.fromkeys(record.arm for record in records))
    scores = {
        arm: {column: interval(table.arms[arm], table.subjects) for column, table in tables.items()} for arm in arms
    }
    return scores, records
