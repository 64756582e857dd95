"""Runs in folders: from specifications to trained weights, continuing where a run was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from torch import nn

from i2ikd.callback import RunContext
from i2ikd.engine import checkpoint
from i2ikd.engine.build import build_network
from i2ikd.engine.checksums import Manifest, merged, record_of
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.exhaustion import Exhaustion, exhaustion
from i2ikd.engine.loop import train
from i2ikd.engine.manifest import manifest
from i2ikd.engine.objectives import create_objective
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.run_folder import RunFolder
from i2ikd.engine.store import RunSpecification
from i2ikd.engine.trainer import Trainer
from i2ikd.errors import UserError
from i2ikd.files import write_atomically
from i2ikd.global_state import kept_global_state
from i2ikd.registry import Registry
from i2ikd.transform import Transform

RECORD = "run.json"


@dataclass(frozen=True)
class Run:
    """Node of an experiment's graph: specification, stages, folder, and the runs whose networks it requires."""

    name: str
    """E.g. ``students/kd-mri/seed0``."""
    specification: RunSpecification
    stages: tuple[PlannedStage, ...]
    folder: RunFolder
    inputs: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """Runs whose networks it requires, by role; several of one role are combined into one network."""

    @property
    def required(self) -> list[Run]:
        """Every run that must be finished before this one starts."""
        return [run for runs in self.inputs.values() for run in runs]


def train_runs(runs: Sequence[Run], shared: TrainingContext) -> None:
    """Train runs together, in one pass over the data; finished ones are left alone.

    Callbacks receive every run's start and end, on failure too. Of several processes the main one writes.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: an error of the loop, a full disk, memory that ran out, or a reading process that was killed.
    """
    waiting = [run for run in runs if not run.folder.finished]
    if not waiting:
        return
    trainers: list[Trainer] = []
    try:
        for run in waiting:
            trainers.append(_start(run, shared))
        by_trainer = {id(trainer): run for trainer, run in zip(trainers, waiting)}
        names = ", ".join(run.name for run in waiting)
        with kept_global_state(f"the training of {names}"):
            train(
                names,
                trainers,
                shared,
                save=(lambda trainer: _save(by_trainer[id(trainer)], trainer)) if shared.group.is_main else None,
            )
        if shared.group.is_main:
            for trainer, run in zip(trainers, waiting):
                _finish(run, trainer)
        shared.group.barrier()  # every process can read the files
    except BaseException as error:
        for trainer in trainers:
            trainer.run.error = error
        exhausted = exhaustion(error)
        if exhausted is None:
            raise
        raise UserError(_at_end(waiting, trainers, exhausted)) from error
    finally:
        for trainer in trainers:
            shared.events.on_run_end(trainer.run)


def _at_end(runs: Sequence[Run], trainers: Sequence[Trainer], exhausted: Exhaustion) -> str:
    """Return the message of a training that ended for lack of a resource, with what the same command does then."""
    place = f" in epoch {trainers[0].epoch}, step {trainers[0].step}" if trainers else ""
    saved = all(run.folder.checkpoint.is_file() for run in runs)
    outcome = "continues from the checkpoint" if saved else "starts the run again, which has no checkpoint"
    names = ", ".join(run.name for run in runs)
    return f"{names}: {exhausted.event}{place}; {exhausted.remedy}; the same command {outcome}"


def _start(run: Run, shared: TrainingContext) -> Trainer:
    """Build the network; continue from the checkpoint where there is one."""
    specification = run.specification
    fresh = network_builder(shared.registry, specification, run.name)
    network = fresh()
    context = RunContext(run.name, specification.seed, run.folder.path, specification.model_dump(mode="json"), network)
    transforms = create_transforms(shared.registry, specification.transforms, run.name)
    trainer = Trainer(context, network, run.stages, shared, specification.model, fresh, specification.side, transforms)
    context.network = trainer.network
    if shared.group.broadcast(run.folder.checkpoint.is_file()):
        content = checkpoint.load(run.folder.checkpoint, shared.device)
        if content.get("digest") != specification.digest or "trainer" not in content:
            raise UserError(f"{run.folder.checkpoint} is no checkpoint of this run; move it away to train {run.name}")
        trainer.load_state_dict(content["trainer"], str(run.folder.checkpoint))
    elif shared.group.is_main:
        write_run_record(run)
        run.folder.write_manifest(Manifest.model_validate(manifest(shared, _components(run, shared.registry))))
    shared.events.on_run_start(context)
    return trainer


def network_builder(registry: Registry, specification: RunSpecification, where: str) -> Callable[[], nn.Module]:
    """Return a function that builds a run's network with its initial weights."""

    def build() -> nn.Module:
        place = f"{where} ({specification.side})"
        return build_network(registry, specification.model, specification.options, specification.seed, place)

    return build


def create_transforms(registry: Registry, references: Sequence[Mapping[str, Any]], where: str) -> list[Transform]:
    """Create transforms from their names and options.

    Raises:
        UserError: unknown, wrong options, or a component that is no transform.
    """
    made = []
    for reference in references:
        name, options = reference["name"], {key: value for key, value in reference.items() if key != "name"}
        transform = registry.create("transform", name, options, f"{where}, transform {name!r}")
        if not isinstance(transform, Transform):
            actual = type(transform).__name__
            raise UserError(f"{where}: expected the transform {name!r} to be an i2ikd.Transform, got {actual}")
        made.append(transform)
    return made


def _components(run: Run, registry: Registry) -> list[tuple[str, str]]:
    used = [("model", run.specification.model)]
    used += [("transform", reference["name"]) for reference in run.specification.transforms]
    for stage in run.stages:
        used.append(("objective", stage.stage.minimises.name))
        used += create_objective(registry, stage.stage).components
    return used


def _save(run: Run, trainer: Trainer) -> None:
    content = {"digest": run.specification.digest, "trainer": trainer.state_dict()}
    checkpoint.save(content, run.folder.checkpoint)


def _finish(run: Run, trainer: Trainer) -> None:
    """Write the history, then the weights, whose presence marks the run as finished; then remove the checkpoint."""
    folder = run.folder
    folder.write("history", trainer.history)
    for name, state in trainer.left.items():
        checkpoint.save({"digest": run.specification.digest, "state": _on_cpu(state)}, folder.left(name))
    if not (folder.path / RECORD).is_file():
        write_run_record(run)
    ended = {"ended": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        folder.write_manifest(merged(folder.manifest(), ended))
    except UserError:  # it was removed or damaged during the training
        folder.write_manifest(Manifest.model_validate(ended))
    names = ["history.json", *(folder.left(name).name for name in trainer.left)]
    save_weights(run.specification, folder, trainer.plain_network(), names)
    folder.checkpoint.unlink(missing_ok=True)


def write_run_record(run: Run) -> None:
    """Write ``run.json``: the name and the specification of a run."""
    run.folder.write("run", {"name": run.name, "specification": run.specification.model_dump(mode="json")})


def save_weights(
    specification: RunSpecification, folder: RunFolder, network: nn.Module, others: Iterable[str] = ()
) -> None:
    """Write a network's weights with the model, options and seed that build it again, after the run's manifest.

    Args:
        specification: of the run.
        folder: of the run.
        network: whose weights are written.
        others: names of further files of the run, which the manifest states too.
    """
    content = {
        "model": specification.model,
        "options": specification.options,
        "seed": specification.seed,
        "digest": specification.digest,
        "state": _on_cpu(network.state_dict()),
    }
    data = checkpoint.encode(content)
    names = [name for name in (RECORD, *others) if (folder.path / name).is_file()]
    folder.state_files(specification.digest, names, {folder.weights.name: record_of(data)})
    write_atomically(folder.weights, data, follow_link=False)


def _on_cpu(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def load_network(registry: Registry, folder: RunFolder, expected: RunSpecification | None = None) -> nn.Module:
    """Build a run's network and load its saved weights; in eval mode.

    Args:
        registry: contains the model. One that is restricted imports no code that the file names.
        folder: of the run.
        expected: specification of the run, from which the network is built; ``None``: from what its file states.

    Raises:
        UserError: the run is not finished, or its files are damaged or those of another run or network.
    """
    content = folder.load_weights()
    place = str(folder.weights)
    if expected is not None:
        if content.digest != expected.digest:
            raise UserError(
                f"{place}: expected the weights of the run {expected.digest[:16]}, got those of {content.digest[:16]}; "
                "put back the run that belongs there, or delete its folder to train it again"
            )
        content = content.model_copy(
            update={"model": expected.model, "options": expected.options, "seed": expected.seed}
        )
    network = build_network(registry, content.model, content.options, content.seed, place)
    checkpoint.load_state(network, content.state, place)
    return network.eval()
