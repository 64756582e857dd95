"""``i2ikd.compare``: a comparison of networks and data in memory, by the engine of the command."""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.callback import Callback, NullCallback, combine
from i2ikd.config import Experiment, check_experiment
from i2ikd.engine.batches import ordered
from i2ikd.engine.loop import Interrupted
from i2ikd.errors import UserError
from i2ikd.experiment import compare as engine
from i2ikd.experiment.budget import student_epochs
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.folder import claim, locked, refuse_foreign
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.tracking import HookCallback
from i2ikd.in_memory.arms import CONTROL, STUDENT, ArmLike, arm_documents, control_document
from i2ikd.in_memory.networks import refuse_frozen, refuse_no_module, refuse_shared_weights, try_on
from i2ikd.in_memory.objects import Objects, identity_of, source_of
from i2ikd.in_memory.results import ComparisonResult
from i2ikd.in_memory.samples import Loss, MemoryTask, read_samples
from i2ikd.progress import library_display
from i2ikd.registry import Registry, default_registry
from i2ikd.report.tracked import tracked_rows
from i2ikd.sample import Batch
from i2ikd.seeds import kept_random_state, seed_torch
from i2ikd.wrapping import unwrapped

logger = logging.getLogger("i2ikd")

METRICS = {"psnr": "psnr-slice-max", "ssim": "ssim-slice-max", "nmse": "nmse-slice", "hfn": "hfn-slice"}

NetworkLike = nn.Module | Callable[[], nn.Module] | str | Mapping[str, Any]
"""A network; a function that builds one; or a registered model by name, or as a table with its options."""


def compare(
    teacher: NetworkLike,
    student: NetworkLike,
    train: Any,
    validation: Any,
    test: Any,
    *,
    arms: Sequence[ArmLike] | Mapping[str, ArmLike],
    seeds: int | Sequence[int] = 3,
    epochs: int = 20,
    training: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    loss: Loss = torch.nn.functional.l1_loss,
    metrics: Mapping[str, str] | None = None,
    latency: bool = True,
    out: str | Path | None = None,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> ComparisonResult:
    """Compare distillation methods on networks and data in memory; same engine, control and statistics as the command.

    The arms ``student`` (plain training) and ``control`` (as many optimiser steps and restarts as the longest arm,
    without a teacher) are added unless they are stated.

    Args:
        teacher: a trained network; it is not changed. A function that builds one, or a model by name: the teacher is
            then trained, once per seed.
        student: a function that builds the network to train, whose initial weights then depend on the seed; or a
            network, from whose weights every run starts. It is not changed: ``ComparisonResult.network`` returns
            trained students.
        train: a data set or loader, read once: random augmentations in it are drawn once, with a ``UserWarning``.
            Items or batches of ``(input, target)``, dicts or ``i2ikd.Sample``. The ``subject`` of a dict, or the key of
            a sample, states which slices belong together; without it, every item is a subject of its own.
        validation: likewise; selects the best weights of each stage.
        test: likewise; what the table is computed on.
        arms: recipes by name, distillers (objects or classes), and tables such as
            ``{"name": "mine", "recipe": [Stage(...)]}`` or ``{"name": "strong", "recipe": "kd-mri", "alpha": 0.2}``;
            or these by name of the arm.
        seeds: number of seeds, or the seeds.
        epochs: of each stage.
        training: settings as in an experiment's ``[training]``.
        pairs: taps (teacher path, student path), which may contain ``*``.
        loss: the reconstruction loss ``(output, target) -> scalar``.
        metrics: registered metrics by column of the table; PSNR, SSIM, NMSE and HFN of slices unless given.
        latency: whether to measure the CPU latency of the networks.
        out: folder for runs, results and report, from which an interrupted call continues; ``None``: a temporary one.
        callback: receives the events of training.
        progress: whether to display progress; ``None``: in a terminal and in a notebook.

    Returns:
        Table, statistics, verdict and trained networks.

    Raises:
        UserError: no data, networks that do not fit it, unknown names, wrong options, or shared weights.
    """
    for name, network in (("teacher", teacher), ("student", student)):
        if not isinstance(network, str | Mapping):
            refuse_no_module(network, name, factory=True)
    if isinstance(teacher, nn.Module) and isinstance(student, nn.Module):
        refuse_shared_weights(teacher, student)
    splits = {
        "train": read_samples(train, "train"),
        "val": read_samples(validation, "validation"),
        "test": read_samples(test, "test"),
    }
    objects = Objects()
    with kept_random_state(), tempfile.TemporaryDirectory() as scratch:
        task = MemoryTask(splits, loss, dict(metrics or METRICS))
        example = next(iter(ordered(task.dataset("train"), 2)))
        document: dict[str, Any] = {
            "name": "comparison",
            "seeds": _seeds(seeds),
            "task": {"name": objects.add("task", lambda: task, "memory", "")},
            "teacher": _network(teacher, "teacher", objects, example),
            "student": _network(student, "student", objects, example),
            "training": {"epochs": epochs, **(training or {})},
            "comparison": {"latency": latency},
            "arms": arm_documents(arms, objects),
        }
        if pairs is not None:
            document["pairs"] = [list(pair) for pair in pairs]
        if isinstance(teacher, nn.Module):
            document["teacher"]["weights"] = str(_saved(teacher, Path(scratch)))
        registry = objects.registry(default_registry())
        folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="i2ikd-"))
        try:
            experiment = _with_references(document, registry, folder)
            result = _run(experiment, registry, folder, combine(library_display(progress), callback or NullCallback()))
            if out is not None:
                result.report(folder)
        except BaseException:
            if out is None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    if out is None:
        weakref.finalize(result, shutil.rmtree, folder, True)
    return result


def _seeds(seeds: int | Sequence[int]) -> list[int]:
    if isinstance(seeds, int):
        if seeds < 1:
            raise UserError(f"seeds: expected at least 1, got {seeds}")
        return list(range(seeds))
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise UserError(f"seeds: expected a number of seeds or a list of them, got a {type(seeds).__name__}")
    return list(seeds)


def _network(network: NetworkLike, name: str, objects: Objects, example: Batch) -> dict[str, Any]:
    """Return a network as an experiment states it, after a forward pass on the data."""
    if isinstance(network, str):
        return {"model": network}
    if isinstance(network, Mapping):
        return dict(network)
    if isinstance(network, nn.Module):
        inner = unwrapped(network)
        try_on(inner, example, name)
        if name == "student":
            refuse_frozen(inner)
        identity = identity_of(inner)
        return {"model": objects.add("model", lambda: copy.deepcopy(inner), type(inner).__name__, identity)}
    built = _built(network, name)
    try_on(built, example, name)
    if name == "student":
        refuse_frozen(built)
    label = getattr(network, "__name__", type(built).__name__).replace("<lambda>", type(built).__name__)
    identity = f"{source_of(network)} {identity_of(built)}"
    return {"model": objects.add("model", lambda: network(), label, identity)}


def _built(factory: Callable[[], nn.Module], name: str) -> nn.Module:
    """Return the network of a factory with the weights of seed 0."""
    seed_torch(0, "network")
    try:
        built = factory()
    except TypeError as error:
        raise UserError(f"{name}: expected a function without arguments that returns a network: {error}") from error
    if not isinstance(built, nn.Module):
        raise UserError(f"{name}: expected the function to return a torch.nn.Module, got a {type(built).__name__}")
    again = factory()
    if again is built:
        raise UserError(f"{name}: expected the function to return a new network at every call, got one object twice")
    return built


def _saved(teacher: nn.Module, folder: Path) -> Path:
    """Write the weights of a trained teacher to a file that the engine copies into its store."""
    file = folder / "teacher.pt"
    torch.save({name: tensor.detach().cpu() for name, tensor in unwrapped(teacher).state_dict().items()}, file)
    return file


def _with_references(document: dict[str, Any], registry: Registry, folder: Path) -> Experiment:
    """Return the experiment with the arms ``student`` and ``control``."""
    stated = {arm["name"] for arm in document["arms"]}
    first = [] if STUDENT in stated else [{"name": STUDENT, "recipe": "student"}]
    document = {**document, "arms": [*first, *document["arms"]]}
    experiment = check_experiment(document, "compare")
    if CONTROL in stated:
        return experiment
    graph = RunGraph(ExperimentContext(experiment, registry, folder))
    seed = experiment.seeds[0]
    runs = [graph.arm_run(arm, seed) for arm in experiment.arms if arm.of is None]
    longest = max(runs, key=student_epochs)
    control = control_document(longest.stages, experiment.training.epochs)
    return check_experiment({**document, "arms": [*first, control, *document["arms"][len(first) :]]}, "compare")


def _run(experiment: Experiment, registry: Registry, folder: Path, shown: Callback) -> ComparisonResult:
    """Run the comparison in a folder."""
    refuse_foreign(folder, experiment)
    graph = RunGraph(ExperimentContext(experiment, registry, folder))
    events = combine(shown, HookCallback(registry))
    with locked(folder):
        claim(folder, experiment)
        try:
            found = engine.compare(graph, experiment.arms, experiment.seeds, log=logger.info, callback=events)
        except Interrupted:
            raise KeyboardInterrupt from None
    shown.on_results(tracked_rows(found), {})
    return ComparisonResult(graph, found)
