"""Score one trained run on a split of its experiment's task, or of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from i2ikd.config import Experiment, apply_override, check_experiment, read_experiment
from i2ikd.engine.run import load_network
from i2ikd.engine.store import RunFolder
from i2ikd.errors import UserError
from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, pivot
from i2ikd.evaluation.statistics import Estimate, interval
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.folder import read_owner
from i2ikd.experiment.metrics import table_metrics
from i2ikd.registry import default_registry

Scores = dict[str, dict[str, Estimate]]


def evaluate_run(
    run: Path, experiment: Path | None, overrides: Sequence[str], split: str
) -> tuple[Scores, list[Record]]:
    """Return the scores by row and column, and the records.

    Raises:
        UserError: no finished run, no experiment to evaluate it by, or wrong data.
    """
    context = context_of(run, experiment, overrides)
    columns, metrics = table_metrics(context)
    dataset = context.dataset(split)
    network = load_network(context.registry, finished_run(run))
    records = evaluate_baselines(context.task, dataset, metrics)
    records += evaluate_network(network, context.task, dataset, metrics, "network", NO_SEED, context.device)
    tables = {column: pivot(records, metric) for column, metric in columns.items()}
    arms = list(dict.fromkeys(record.arm for record in records))
    scores = {
        arm: {column: interval(table.arms[arm], table.subjects) for column, table in tables.items()} for arm in arms
    }
    return scores, records


def context_of(run: Path, experiment: Path | None, overrides: Sequence[str]) -> ExperimentContext:
    """Return the experiment that a run belongs to, or another.

    Raises:
        UserError: none is found, or it cannot work.
    """
    return ExperimentContext(_experiment_of(run, experiment, overrides), default_registry(), run)


def finished_run(run: Path) -> RunFolder:
    """Return the folder of a finished run.

    Raises:
        UserError: it is none.
    """
    folder = RunFolder(run.resolve())
    if not folder.finished:
        what = "its training has not ended" if folder.checkpoint.is_file() else "it has no weights.pt"
        raise UserError(f"{run} is no finished run: {what}")
    return folder


def owner_of(run: Path, overrides: Sequence[str]) -> Experiment | None:
    """Return the experiment in whose folder a run lies; ``None`` where it lies in none.

    Raises:
        UserError: the experiment there, with the overrides, cannot be.
    """
    for parent in run.resolve().parents:
        mark = parent / "experiment.json"
        if mark.is_file():
            document = read_owner(parent)
            for override in overrides:
                apply_override(document, override)
            return check_experiment(document, str(mark))
    return None


def _experiment_of(run: Path, experiment: Path | None, overrides: Sequence[str]) -> Experiment:
    if experiment is not None:
        return read_experiment(experiment, overrides)
    owner = owner_of(run, overrides)
    if owner is None:
        raise UserError(f"{run} lies in no comparison's folder: say with --experiment which experiment judges it")
    return owner
