"""Evaluation of one trained run on a split of its experiment's task, or of another experiment's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2ikd.config import Experiment, apply_override, check_experiment, read_experiment
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.run import load_network
from i2ikd.engine.run_folder import RunFolder
from i2ikd.errors import UserError
from i2ikd.evaluation.predict import evaluate_baselines, evaluate_network
from i2ikd.evaluation.records import NO_SEED, Record, pivot
from i2ikd.evaluation.statistics import Estimate, interval
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.folder import MARK, read_owner
from i2ikd.experiment.metrics import table_metrics
from i2ikd.imported import stated_imports
from i2ikd.registry import Registry, default_registry

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
    network = load_network(context.registry, finished_run(run))
    records = evaluate_baselines(context.task, dataset, metrics)
    records += evaluate_network(network, context.task, dataset, metrics, "network", NO_SEED, context.device)
    tables = {column: pivot(records, metric) for column, metric in columns.items()}
    arms = list(dict.fromkeys(record.arm for record in records))
    scores = {
        arm: {column: interval(table.arms[arm], table.subjects) for column, table in tables.items()} for arm in arms
    }
    return scores, records


def context_of(run: Path, experiment: Path | None, overrides: Sequence[str], trust: bool = False) -> ExperimentContext:
    """Return the context of the experiment that a run belongs to, or of another one.

    Files of a run are data: its context imports only code that ``experiment`` or ``overrides`` name.

    Args:
        run: folder of the run.
        experiment: TOML file; ``None``: the experiment of the run's output folder.
        overrides: ``key.path=value`` texts, applied to the experiment in order.
        trust: whether code that the run's files name is imported.

    Raises:
        UserError: no experiment is found, or it is invalid.
    """
    checked = _experiment_of(run, experiment, overrides)
    own = checked.model_dump(mode="json") if experiment is not None else list(overrides)
    return ExperimentContext(checked, registry_for_stored(own, trust), run)


def registry_for_stored(own: Any = (), trust: bool = False) -> Registry:
    """Return the registry that builds what files of a run name.

    Args:
        own: what the user states: a document, or overrides; imports that it names are permitted.
        trust: whether every import is permitted.
    """
    registry = default_registry()
    return registry if trust else registry.restricted(stated_imports(own))


def finished_run(run: Path) -> RunFolder:
    """Return the folder of a finished run.

    Args:
        run: its path.

    Raises:
        UserError: the folder contains no run, or an unfinished one.
    """
    folder = RunFolder(run.resolve())
    if not folder.finished:
        what = "its training has not ended" if folder.checkpoint.is_file() else "it has no weights.pt"
        raise UserError(f"{run} is no finished run: {what}")
    expected, actual = expected_digest(run), folder.digest
    if expected and actual and not actual.startswith(expected):
        raise UserError(
            f"{run}: expected the run {expected[:16]}, got the run {actual[:16]}; put back the folder that belongs "
            "there, or run `i2ikd compare` again"
        )
    return folder


def expected_digest(run: Path) -> str | None:
    """Return the start of the digest that a run's place states: the name of its folder, or its name in the manifest.

    Args:
        run: path of its folder, or of a link to it.
    """
    resolved = run.resolve()
    in_store = resolved.parent.name == "store" and re.fullmatch("[0-9a-f]{16}", resolved.name)
    place = resolved.name if in_store else None
    named = run.parent.resolve() / run.name  # a link, as it is named, in its resolved folder
    for out in named.parents:
        if (out / MARK).is_file():
            runs = OutputManifest(out).read().runs
            return runs.get(named.relative_to(out).as_posix(), place)
    return place


def owner_of(run: Path, overrides: Sequence[str]) -> Experiment | None:
    """Return the experiment of the output folder that contains a run.

    Args:
        run: folder of the run.
        overrides: ``key.path=value`` texts, applied to the experiment in order.

    Returns:
        The experiment; ``None`` if the run is not inside an output folder.

    Raises:
        UserError: the experiment with the overrides is invalid.
    """
    for parent in run.resolve().parents:
        mark = parent / MARK
        if mark.is_file():
            document = read_owner(parent)
            for override in overrides:
                apply_override(document, override)
            return check_experiment(document, str(mark))
    return None


def _experiment_of(run: Path, experiment: Path | None, overrides: Sequence[str]) -> Experiment:
    """Read the stated experiment, or that of the run's output folder."""
    if experiment is not None:
        return read_experiment(experiment, overrides)
    owner = owner_of(run, overrides)
    if owner is None:
        raise UserError(f"{run} is not inside a comparison's folder; pass its experiment with --experiment")
    return owner
