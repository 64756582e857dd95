"""Runs in folders: from specifications to trained weights, going on where a run was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from torch import nn

from i2ikd.engine import checkpoint
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.loop import Callback, train
from i2ikd.engine.manifest import manifest
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.store import RunFolder, RunSpecification
from i2ikd.engine.trainer import Trainer
from i2ikd.errors import UserError
from i2ikd.lifecycle import RunContext
from i2ikd.registry import Registry


@dataclass(frozen=True)
class Run:
    """One run to make: what decides its numbers, and where it is kept."""

    name: str
    """As a person knows it, e.g. ``students/kd-mri/seed0``."""
    specification: RunSpecification
    stages: tuple[PlannedStage, ...]
    folder: RunFolder


def train_runs(runs: Sequence[Run], shared: TrainingContext, callback: Callback | None = None) -> None:
    """Train runs together, in one pass over the data; finished ones are left alone.

    Life-cycle hooks hear of every run's start and end, on failure too. Of several processes the first one writes.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: what the loop refuses, or a full disk.
    """
    waiting = [run for run in runs if not run.folder.finished]
    if not waiting:
        return
    trainers: list[Trainer] = []
    try:
        for run in waiting:
            trainers.append(_start(run, shared))
        folders = {id(trainer): run for trainer, run in zip(trainers, waiting)}
        train(
            ", ".join(run.name for run in waiting),
            trainers,
            shared,
            save=(lambda trainer: _save(folders[id(trainer)], trainer)) if shared.group.is_main else None,
            callback=callback,
        )
        if shared.group.is_main:
            for trainer, run in zip(trainers, waiting):
                _finish(run, trainer)
        shared.group.barrier()  # the files are there for all
    except BaseException as error:
        for trainer in trainers:
            trainer.run.error = error
        raise
    finally:
        for trainer in trainers:
            shared.notify("run_ended", trainer.run)


def _start(run: Run, shared: TrainingContext) -> Trainer:
    """Build the network; go on from the checkpoint where there is one."""
    specification = run.specification

    def fresh() -> nn.Module:
        where = f"{run.name} ({specification.side})"
        return build_network(shared.registry, specification.model, specification.options, specification.seed, where)

    settings = specification.model_dump(mode="json")
    network = fresh()
    context = RunContext(run.name, specification.seed, run.folder.path, settings, network)
    trainer = Trainer(context, network, run.stages, shared, specification.model, fresh)
    if shared.group.broadcast(run.folder.checkpoint.is_file()):
        content = checkpoint.load(run.folder.checkpoint, shared.device)
        if content.get("digest") != specification.digest or "trainee" not in content:
            raise UserError(f"{run.folder.checkpoint} is no checkpoint of this run; move it away to train {run.name}")
        trainer.load_state_dict(content["trainee"], str(run.folder.checkpoint))
    elif shared.group.is_main:
        run.folder.write("run", {"name": run.name, "specification": settings})
        run.folder.write("manifest", manifest(shared, _components(specification)))
    shared.notify("run_started", context)
    return trainer


def _components(specification: RunSpecification) -> list[tuple[str, str]]:
    used = [("model", specification.model)]
    for stage in specification.stages:
        used += [("distiller", term["distiller"]["name"]) for term in stage["terms"]]
    return used


def _save(run: Run, trainer: Trainer) -> None:
    content = {"digest": run.specification.digest, "trainee": trainer.state_dict()}
    checkpoint.save(content, run.folder.checkpoint)


def _finish(run: Run, trainer: Trainer) -> None:
    """Write the history, then the weights, whose presence says that the run is finished; then drop the checkpoint."""
    run.folder.write("history", trainer.history)
    facts = run.folder.read("manifest") or {}
    run.folder.write("manifest", {**facts, "ended": datetime.now(UTC).isoformat(timespec="seconds")})
    save_weights(run.specification, run.folder, trainer.network)
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


def load_network(registry: Registry, folder: RunFolder) -> nn.Module:
    """Build a run's network afresh and put its saved weights in; in eval mode.

    Raises:
        UserError: the run is not finished, or its files are not what they should be.
    """
    content = folder.load_weights()
    network = build_network(registry, content["model"], content["options"], content["seed"], str(folder.path))
    checkpoint.load_state(network, content["state"], str(folder.weights))
    return network.eval()
