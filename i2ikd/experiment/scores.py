"""Scores of every run on the test split, from its saved weights in a fresh build, kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from i2ikd.config import digest
from i2ikd.engine.run import Run
from i2ikd.engine.store import RunFolder
from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, read_records, write_records
from i2ikd.experiment.context import ExperimentContext
from i2ikd.metric import Metric

_SPLIT = "test"


def score_run(context: ExperimentContext, run: Run, arm: str, seed: int, metrics: Mapping[str, Metric]) -> list[Record]:
    """Return a finished run's records, evaluated once."""
    kept = _kept(context, run.folder, metrics)
    if kept is None:
        network = context.load(run)
        kept = evaluate_network(network, context.task, context.dataset(_SPLIT), metrics, arm, seed, context.device)
        _keep(context, run.folder, metrics, kept)
    return [Record(arm, seed, r.volume, r.slice, r.scores) for r in kept]


def score_teacher(context: ExperimentContext, run: Run, seed: int, metrics: Mapping[str, Metric]) -> list[Record]:
    """Return the teacher's records; one with given weights has no seed."""
    return score_run(context, run, "teacher", NO_SEED if run.specification.weights else seed, metrics)


def score_baselines(context: ExperimentContext, metrics: Mapping[str, Metric]) -> list[Record]:
    """Return the records of what a person has without a network."""
    folder = RunFolder(context.store.root / "store" / f"baseline-{_key(context, metrics)[:16]}")
    kept = _kept(context, folder, metrics)
    if kept is None:
        kept = evaluate_baselines(context.task, context.dataset(_SPLIT), metrics)
        _keep(context, folder, metrics, kept)
    return kept


def _key(context: ExperimentContext, metrics: Mapping[str, Metric]) -> str:
    return digest([context.identity(), sorted(metrics), _SPLIT])


def _kept(context: ExperimentContext, folder: RunFolder, metrics: Mapping[str, Metric]) -> list[Record] | None:
    facts = folder.read("evaluation")
    if facts is None or facts.get("key") != _key(context, metrics) or not (folder.path / "records.csv").is_file():
        return None
    return read_records(folder.path / "records.csv")


def _keep(
    context: ExperimentContext, folder: RunFolder, metrics: Mapping[str, Metric], records: Sequence[Record]
) -> None:
    """Write the records, then the file that says what they are."""
    folder.path.mkdir(parents=True, exist_ok=True)
    write_records(folder.path / "records.csv", records)
    folder.write("evaluation", {"key": _key(context, metrics), "split": _SPLIT, "metrics": sorted(metrics)})
