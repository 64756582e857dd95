"""Scores of every run on the test split, from its saved weights in a fresh build, kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from i2ikd.config import digest
from i2ikd.engine.run import Run
from i2ikd.engine.store import RunFolder, differences
from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, read_records, write_records
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.schedule import Say
from i2ikd.metric import Metric

_SPLIT = "test"

_FORMAT = 2
"""Of the kept records; raised when they change. 2: with the subject of every volume."""


def score_run(
    context: ExperimentContext, run: Run, arm: str, seed: int, metrics: Mapping[str, Metric], say: Say = print
) -> list[Record]:
    """Return a finished run's records, evaluated once.

    Args:
        bench: the experiment.
        run: a finished run.
        arm: name of the arm in the records.
        seed: of the records.
        metrics: by name.
        say: prints why kept scores are made anew.
    """
    kept = _kept(context, run.folder, metrics)
    if kept is None:
        reason = _reason(context, run.folder, metrics)
        if reason:
            say(f"{run.name}: scored again from its weights ({reason})")
        network = context.load(run)
        kept = evaluate_network(network, context.task, context.dataset(_SPLIT), metrics, arm, seed, context.device)
        _keep(context, run.folder, metrics, kept)
    return [replace(record, arm=arm, seed=seed) for record in kept]


def score_teacher(
    context: ExperimentContext, run: Run, seed: int, metrics: Mapping[str, Metric], say: Say = print
) -> list[Record]:
    """Return the teacher's records; one with given weights has no seed."""
    return score_run(context, run, "teacher", NO_SEED if run.specification.weights else seed, metrics, say)


def score_baselines(context: ExperimentContext, metrics: Mapping[str, Metric]) -> list[Record]:
    """Return the records of the task's non-learned baselines."""
    address = digest(_origin(context, metrics))[:16]
    folder = RunFolder(context.store.root / "store" / f"baseline-{address}")
    kept = _kept(context, folder, metrics)
    if kept is None:
        kept = evaluate_baselines(context.task, context.dataset(_SPLIT), metrics)
        _keep(context, folder, metrics, kept)
    return kept


def _origin(context: ExperimentContext, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return what records of a network depend on, beside the network.

    The keys are in it because they name the subjects, which are no part of a run's identity: they change statistics and
    no weights.
    """
    return {
        "format": _FORMAT,
        "task": digest(context.identity()),
        "keys": digest([list(key) for key in context.dataset(_SPLIT).keys]),
        "metrics": sorted(metrics),
        "split": _SPLIT,
    }


def _kept(context: ExperimentContext, folder: RunFolder, metrics: Mapping[str, Metric]) -> list[Record] | None:
    if folder.read("evaluation") != _origin(context, metrics) or not (folder.path / "records.csv").is_file():
        return None
    return read_records(folder.path / "records.csv")


def _reason(context: ExperimentContext, folder: RunFolder, metrics: Mapping[str, Metric]) -> str:
    """Return why kept records are not valid any more; empty where there are none."""
    before = folder.read("evaluation")
    if not isinstance(before, dict):
        return ""
    if before.get("format") != _FORMAT:
        return "the kept scores lack the subjects of the volumes"
    return "changed: " + "; ".join(differences(before, _origin(context, metrics)))


def _keep(
    context: ExperimentContext, folder: RunFolder, metrics: Mapping[str, Metric], records: Sequence[Record]
) -> None:
    """Write the records, then the file that says what they are."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_records(folder.path / "records.csv", records)
    folder.write("evaluation", _origin(context, metrics))
