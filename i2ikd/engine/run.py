"""Runs in folders: from specifications to trained weights, going on where a run was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from torch import nn

from i2ikd.engine import checkpoint
from i2ikd.engine.build import build_network
from i2ikd.engine.ground import Ground
from i2ikd.engine.loop import Watcher, train
from i2ikd.engine.manifest import manifest
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.store import RunFolder, RunSpecification
from i2ikd.engine.trainee import Trainee
from i2ikd.errors import UserError
from i2ikd.lifecycle import RunContext
from i2ikd.plugins import Host


@dataclass(frozen=True)
class Run:
    """One run to make: what decides its numbers, and where it is kept."""

    name: str
    """As a person knows it, e.g. ``students/kd-mri/seed0``."""
    specification: RunSpecification
    stages: tuple[PlannedStage, ...]
    folder: RunFolder


def train_runs(runs: Sequence[Run], ground: Ground, watcher: Watcher | None = None) -> None:
    """Train runs together, in one pass over the data; finished ones are left alone.

    Life-cycle hooks hear of every run's start and end, on failure too. Of several processes the first one writes.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: what the loop refuses, or a full disk.
    """
    waiting = [run for run in runs if not run.folder.finished]
    if not waiting:
        return
    trainees: list[Trainee] = []
    try:
        for run in waiting:
            trainees.append(_start(run, ground))
        folders = {id(trainee): run for trainee, run in zip(trainees, waiting)}
        train(
            ", ".join(run.name for run in waiting),
            trainees,
            ground,
            save=(lambda trainee: _save(folders[id(trainee)], trainee)) if ground.group.leads else None,
            watcher=watcher,
        )
        if ground.group.leads:
            for trainee, run in zip(trainees, waiting):
                _finish(run, trainee)
        ground.group.wait()  # the files are there for all
    except BaseException as error:
        for trainee in trainees:
            trainee.run.error = error
        raise
    finally:
        for trainee in trainees:
            ground.notify("run_ended", trainee.run)


def _start(run: Run, ground: Ground) -> Trainee:
    """Build the network; go on from the checkpoint where there is one."""
    specification = run.specification

    def fresh() -> nn.Module:
        where = f"{run.name} ({specification.role})"
        return build_network(ground.host, specification.model, specification.options, specification.seed, where)

    settings = specification.model_dump(mode="json")
    network = fresh()
    context = RunContext(run.name, specification.seed, run.folder.path, settings, network)
    trainee = Trainee(context, network, run.stages, ground, specification.model, fresh)
    if ground.group.first(run.folder.checkpoint.is_file()):
        content = checkpoint.load(run.folder.checkpoint, ground.device)
        if content.get("digest") != specification.digest or "trainee" not in content:
            raise UserError(f"{run.folder.checkpoint} is no checkpoint of this run; move it away to train {run.name}")
        trainee.load_state_dict(content["trainee"], str(run.folder.checkpoint))
    elif ground.group.leads:
        run.folder.write("run", {"name": run.name, "specification": settings})
        run.folder.write("manifest", manifest(ground, _components(specification)))
    ground.notify("run_started", context)
    return trainee


def _components(specification: RunSpecification) -> list[tuple[str, str]]:
    used = [("model", specification.model)]
    for stage in specification.stages:
        used += [("distiller", term["distiller"]["name"]) for term in stage["terms"]]
    return used


def _save(run: Run, trainee: Trainee) -> None:
    content = {"digest": run.specification.digest, "trainee": trainee.state_dict()}
    checkpoint.save(content, run.folder.checkpoint)


def _finish(run: Run, trainee: Trainee) -> None:
    """Write the history, then the weights, whose presence says that the run is finished; then drop the checkpoint."""
    run.folder.write("history", trainee.history)
    facts = run.folder.read("manifest") or {}
    run.folder.write("manifest", {**facts, "ended": datetime.now(UTC).isoformat(timespec="seconds")})
    save_weights(run.specification, run.folder, trainee.network)
    run.folder.checkpoint.unlink(missing_ok=True)


def save_weights(specification: RunSpecification, folder: RunFolder, network: nn.Module) -> None:
    """Write a network's weights with what is needed to build it again."""
    state: dict[str, Any] = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = {
        "model": specification.model,
        "options": specification.options,
        "seed": specification.seed,
        "digest": specification.digest,
        "state": state,
    }
    checkpoint.save(content, folder.weights)


def load_network(host: Host, folder: RunFolder) -> nn.Module:
    """Build a run's network afresh and put its saved weights in; in eval mode.

    Raises:
        UserError: the run is not finished, or its files are not what they should be.
    """
    content = folder.load_weights()
    network = build_network(host, content["model"], content["options"], content["seed"], str(folder.path))
    checkpoint.load_state(network, content["state"], str(folder.weights))
    return network.eval()
