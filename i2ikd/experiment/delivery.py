"""Origin of a delivered network: its run, its task, and its row of the comparison; and the task of a bundle."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2ikd.config import apply_override, digest
from i2ikd.deploy.bundle import Origin
from i2ikd.deploy.predictor import bundle_config
from i2ikd.engine.manifest import source_commit
from i2ikd.engine.run_folder import RunFolder
from i2ikd.errors import UserError
from i2ikd.evaluation.records import pivot, read_records
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.metrics import table_metrics
from i2ikd.files import read_json
from i2ikd.registry import Registry
from i2ikd.task import Task


def origin_of(run: Path, folder: RunFolder, context: ExperimentContext) -> Origin:
    """Return the origin of the network of a run.

    Args:
        run: path that the user passed, such as ``runs/brain-4x/students/kd-mri/seed0``.
        folder: of the finished run.
        context: of its experiment.
    """
    specification = folder.load_weights()
    section = context.experiment.task
    manifest = folder.read("manifest") or {}
    out = next((parent for parent in run.absolute().parents if (parent / "experiment.json").is_file()), None)
    name = run.name if out is None else str(run.absolute().relative_to(out))
    arm = name.split("/")[-2] if "/" in name else None
    results: Mapping[str, Any] = {}
    worst: dict[str, float] = {}
    if out is not None and (out / "results.json").is_file():
        results = read_json(out / "results.json")
        worst = _worst(out, context)
    record = (folder.read("run") or {}).get("specification", {})
    return Origin(
        name=f"{context.experiment.name}/{name}",
        model=specification.model,
        options=specification.options,
        task=without_paths({"name": section.name, **section.options}),
        digest=specification.digest,
        rows=results.get("rows", []),
        arm="teacher" if name.startswith("teacher/") else arm,
        worst=worst,
        manifest=manifest,
        papers=_papers(manifest.get("components", {}), context.registry),
        run=name,
        card=context.experiment.card.model_dump(exclude_defaults=True),
        data_digests=_data_digests(record, context),
        slices=results.get("metadata", {}).get("slices", ""),
        stages=_training_lines(record),
        columns=results.get("metrics", {}),
        commit=source_commit(),
    )


def _data_digests(record: Mapping[str, Any], context: ExperimentContext) -> dict[str, str]:
    """Return digests of what the samples depend on: as the run recorded it, and of the test split."""
    trained = {"training and validation": digest(record["task"])} if "task" in record else {}
    return {**trained, **({"test": digest(context.test_identity)} if context.test_identity else {})}


def _training_lines(record: Mapping[str, Any]) -> list[str]:
    """Return a line for each stage, and one for the transforms of the network in training."""
    names = ", ".join(f"`{transform['name']}`" for transform in record.get("transforms", []))
    stages = [_stage_line(stage) for stage in record.get("stages", [])]
    return [*stages, *([f"Transforms in training: {names}"] if names else [])]


def _stage_line(stage: Mapping[str, Any]) -> str:
    """Return name, objective and settings of a stage as one line."""
    objective = (stage.get("objective") or {}).get("name")
    terms = ", ".join(str(term["distiller"]["name"]) for term in stage.get("terms") or [])
    settings = {key: stage["training"].get(key) for key in ("epochs", "batch", "optimizer", "lr", "schedule")}
    minimised = terms if objective in (None, "weighted-terms") and terms else objective
    return f"Stage `{stage['name']}`: {minimised}; " + ", ".join(f"{key} {value}" for key, value in settings.items())


def _papers(components: Mapping[str, str], registry: Registry) -> list[str]:
    """Return the papers that the components of a run state, each once."""
    found = []
    for key in components:
        kind, _, name = key.partition(":")
        with contextlib.suppress(UserError):  # imported, not registered
            paper = registry.get(kind, name).metadata.get("paper")
            if paper and paper not in found:
                found.append(paper)
    return found


def _worst(out: Path, context: ExperimentContext) -> dict[str, float]:
    """Return the lowest mean of a subject in the first column, by row."""
    columns, _ = table_metrics(context)
    table = pivot(read_records(out / "records.csv"), next(iter(columns.values())))
    found = {}
    for arm, values in table.arms.items():
        subjects = [
            np.nanmean(values[:, [i for i, name in enumerate(table.subjects) if name == subject]])
            for subject in dict.fromkeys(table.subjects)
        ]
        found[arm] = float(min(subjects))
    return found


def without_paths(section: Any) -> Any:
    """Return settings with ``.`` for every text that is the path of an existing file or folder.

    >>> without_paths({"root": "/", "name": "folder", "size": [8, 8]})
    {'root': '.', 'name': 'folder', 'size': [8, 8]}
    """
    if isinstance(section, dict):
        return {key: without_paths(value) for key, value in section.items()}
    if isinstance(section, list | tuple):
        return [without_paths(value) for value in section]
    if isinstance(section, Path) or (isinstance(section, str) and ("/" in section or "\\" in section)):
        return "." if Path(section).expanduser().exists() else str(section)
    return section


def bundle_task(folder: Path, registry: Registry, overrides: Sequence[str]) -> Task:
    """Create the task of a bundle, which reads and writes files of new data.

    Args:
        folder: the bundle.
        registry: contains the task.
        overrides: ``task.key=value`` texts.

    Raises:
        UserError: the plugin of the task is not installed, or an option is wrong.
    """
    document = {"task": bundle_config(folder)["task"]}
    for override in overrides:
        apply_override(document, override)
    options = {key: value for key, value in document["task"].items() if key != "name"}
    name = document["task"]["name"]
    task = registry.create("task", name, options, f"{folder}, task {name!r}")
    if not isinstance(task, Task):
        raise UserError(f"{folder}: expected the task {name!r} to be an i2ikd.Task, got {type(task).__name__}")
    return task
