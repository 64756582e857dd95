"""Finished runs by their paths: the experiment they belong to, and their network as its row of the table has it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.config import Experiment, apply_override, check_experiment, read_experiment
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.run import load_network
from i2ikd.engine.run_folder import ORIGIN, RunFolder
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.folder import MARK, is_owned, read_owner
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.networks import derived_folder, transformed
from i2ikd.imported import stated_imports
from i2ikd.registry import Registry, default_registry


def context_of(run: Path, experiment: Path | None, overrides: Sequence[str], trust: bool = False) -> ExperimentContext:
    """Return the context of the experiment that a run belongs to, or of another one.

    Files of a run are data: its context imports only code that ``experiment`` or ``overrides`` name.

    Args:
        run: folder of the run.
        experiment: TOML file; ``None``: the experiment of the run.
        overrides: ``key.path=value`` texts, applied to the experiment in order.
        trust: whether code that the run's files name is imported.

    Raises:
        UserError: no experiment is found, or it is invalid.
    """
    _refuse_missing(run)
    found = read_experiment(experiment, overrides) if experiment is not None else owner_of(run, overrides)
    if found is None:
        raise UserError(
            f"{run} is not inside a comparison's folder, so its task is unknown; pass a run below the --out folder of "
            "`i2ikd compare`; `i2ikd evaluate` and `i2ikd infer` also take --experiment EXPERIMENT.toml"
        )
    own = found.model_dump(mode="json") if experiment is not None else list(overrides)
    return ExperimentContext(found, registry_for_stored(own, trust), run)


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
        UserError: the path is a broken link, or its folder contains no run, an unfinished one, or another one than
            the path states.
    """
    _refuse_missing(run)
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


def _refuse_missing(run: Path) -> None:
    if run.is_symlink() and not run.exists():
        raise UserError(
            f"{run} is a broken link to {str(run.readlink())!r}; copy a run with cp -rL, or the whole output folder"
        )
    if is_owned(run):
        names = sorted(path.relative_to(run).as_posix() for path in run.glob("students/*/seed*"))
        example = run / (names[0] if names else "teacher/seed0")
        raise UserError(f"{run} is the output folder of an experiment; expected a run in it, such as {example}")
    if not run.exists():
        raise UserError(f"{run}: no such folder; expected the folder of a run, such as OUT/students/ARM/seed0")


def owner_of(run: Path, overrides: Sequence[str]) -> Experiment | None:
    """Return the experiment of the output folder that contains a run, or the one stored with a copied run.

    Args:
        run: folder of the run.
        overrides: ``key.path=value`` texts, applied to the experiment in order.

    Returns:
        The experiment; ``None`` if the run is not inside an output folder and was not trained in one.

    Raises:
        UserError: the experiment with the overrides is invalid.
    """
    out = _output_folder(run)
    document = read_owner(out) if out is not None else _origin(run).get("experiment")
    if document is None:
        return None
    for override in overrides:
        apply_override(document, override)
    return check_experiment(document, str(out if out is not None else run))


def record_origin(context: ExperimentContext, folder: RunFolder, name: str) -> None:
    """Store experiment and name with a finished run, so that a copy of its folder works alone.

    Args:
        context: the experiment.
        folder: of the run; a run of equal specification may have several names.
        name: relative to the output folder, such as ``students/kd-mri/seed0``.
    """
    if not (context.group.is_main and folder.finished):
        return
    try:
        before = _origin(folder.path)
    except UserError:  # damaged: it is written anew
        before = {}
    rows = {"teacher", *(arm.name for arm in context.experiment.arms)}  # arms may have been renamed since
    names = sorted({name, *(known for known in before.get("names", []) if _row(known) in rows)})
    after = {"names": names, "experiment": context.document}
    if after != before:
        folder.write(ORIGIN, after)
    if after != before or f"{ORIGIN}.json" not in folder.stated():
        folder.state_file(f"{ORIGIN}.json")


def finished_network(registry: Registry, run: Path, experiment: Experiment) -> nn.Module:
    """Return the network of a finished run as its row of the table has it: after its arm's transforms.

    Transforms are those of the experiment that trained the run, calibrated on its training data: neither overrides nor
    another experiment, which choose the data that the network is applied to, change the network.

    Args:
        registry: of models and transforms.
        run: path of the run; of several rows that share a run, the path selects one (``students/int8/seed0``).
        experiment: the experiment of a run that is stored with none.

    Raises:
        UserError: the run is not finished, its rows are ambiguous, or its transforms cannot be applied.
    """
    folder = finished_run(run)
    network = load_network(registry, folder)
    owner = owner_of(run, ()) or experiment
    stated = [owner.teacher.transforms, owner.student.transforms, *(arm.transforms for arm in owner.arms)]
    if not any(stated):
        return network
    # as the table is scored: on the CPU; no transform depends on the precision of training
    training = owner.training.model_copy(update={"device": "cpu", "precision": "fp32"})
    context = ExperimentContext(owner.model_copy(update={"training": training}), registry, run)
    references = _transforms(RunGraph(context), run, folder)
    if not references:
        return network
    out = _output_folder(run)
    stored = None if out is None or folder.digest is None else derived_folder(out, [folder.digest], references, None)
    # a folder is read where compare has written it: a command on one run adds nothing to the store
    return transformed(context, network, references, stored if stored is not None and stored.is_dir() else None)


def _transforms(graph: RunGraph, run: Path, folder: RunFolder) -> list[dict[str, Any]]:
    """Return the transforms of the row that a path names, or of all rows of its run if these are equal."""
    rows = {name: graph.trained_transforms(_row(name)) for name in _names(run, folder)}
    different = [references for references in rows.values() if references != next(iter(rows.values()))]
    if different:
        out = _output_folder(run)
        remedy = f"pass one of them in {out}" if out is not None else "copy the output folder, and pass one of them"
        raise UserError(f"{run} is the run of rows with different transforms, {', '.join(rows)}; {remedy}")
    return next(iter(rows.values()), [])


def _names(run: Path, folder: RunFolder) -> list[str]:
    """Return the names that a path may stand for: its own, or those that were recorded for the folder."""
    out = _output_folder(run)
    name = "" if out is None else _absolute(run).relative_to(out).as_posix()
    if name.startswith(("students/", "teacher/")):
        return [name]
    found = _origin(run).get("names") or [(folder.read("run") or {}).get("name", "")]
    return [name for name in found if name]


def _row(name: str) -> str:
    """Return the row of the table of a run's name: ``teacher``, or the arm."""
    first, *rest = name.split("/")
    return rest[0] if first == "students" and rest else first


def _origin(run: Path) -> dict[str, Any]:
    folder = RunFolder(run.resolve())
    if (folder.path / f"{ORIGIN}.json").is_file():
        folder.verify(folder.path / f"{ORIGIN}.json")
    content = folder.read(ORIGIN)
    return content if isinstance(content, dict) else {}


def _absolute(run: Path) -> Path:
    """Return an absolute path whose links are kept: rows that share a run are links to one folder."""
    return Path(os.path.abspath(run))  # noqa: PTH100 (Path.absolute keeps "..", Path.resolve follows links)


def _output_folder(run: Path) -> Path | None:
    """Return the output folder that contains a path, or the folder that the path links to."""
    for path in (_absolute(run), run.resolve()):
        for parent in path.parents:
            if is_owned(parent):
                return parent
    return None
