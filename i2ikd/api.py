"""Python interface: distil one network into another on a loader, and load trained networks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.callback import Callback, NullCallback, RunContext, combine
from i2ikd.config import Training, merge_training
from i2ikd.deploy.predictor import is_bundle, load_bundle
from i2ikd.engine import loop
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import resolve_device
from i2ikd.engine.dry_run import DryRun
from i2ikd.engine.loader import LoaderBatches, as_batch, refuse_no_loader
from i2ikd.engine.plan import plan_stages
from i2ikd.engine.precision import autocast, resolve_precision
from i2ikd.engine.run import load_network
from i2ikd.engine.trainer import Trainer
from i2ikd.errors import UserError
from i2ikd.experiment.finished import finished_network, finished_run, owner_of, registry_for_stored
from i2ikd.experiment.tracking import HookCallback
from i2ikd.in_memory.arms import method_document
from i2ikd.in_memory.networks import refuse_frozen, refuse_no_module, refuse_shared_weights, try_on
from i2ikd.in_memory.objects import Method, Objects
from i2ikd.in_memory.results import DistillResult
from i2ikd.in_memory.samples import Loss, checked_loss
from i2ikd.metric import Metric
from i2ikd.network import apply
from i2ikd.progress import library_display
from i2ikd.recipe import Stage
from i2ikd.registry import default_registry
from i2ikd.sample import Batch
from i2ikd.seeds import kept_random_state
from i2ikd.task import SampleDataset, Task
from i2ikd.zoo import located

logger = logging.getLogger("i2ikd")

_METRICS = {"psnr": "psnr-slice-max", "ssim": "ssim-slice-max", "nmse": "nmse-slice"}


class _LoaderTask(Task):
    """Task of ``distill``: the loss alone, as loaders provide the data."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss that was passed to ``distill``."""
        return checked_loss(self._loss, output, target)

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Raise ``UserError``: loaders provide the data."""
        raise UserError("the data of this task comes from loaders")

    def identity(self) -> dict[str, Any]:
        """Return an empty identity, as loaders cannot be identified."""
        return {}


def distill(
    teacher: nn.Module | None,
    student: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any] | None = None,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    recipe: Method = "kd-mri",
    options: Mapping[str, Any] | None = None,
    epochs: int = 20,
    steps: int | None = None,
    training: Mapping[str, Any] | None = None,
    loss: Loss = torch.nn.functional.l1_loss,
    seed: int = 0,
    callback: Callback | None = None,
    progress: bool | None = None,
) -> DistillResult:
    """Train a student with knowledge from a teacher.

    Global random states and the allocator of the process are left as they are.

    Args:
        teacher: a trained network, called as ``teacher(input, **conditions)``; it is not changed. ``None`` for
            recipes without a teacher.
        student: the network to train, in place.
        train: a loader, with or without a length, that starts again whenever it is iterated; of ``i2ikd.Batch``,
            ``(input, target)`` pairs, or dicts with ``input``, ``target`` and conditions, [B, C, H, W]. It is iterated
            in every epoch, so that random augmentations in it are drawn anew.
        validation: likewise; selects the best weights of each stage, and the metrics are computed on it.
        pairs: taps (teacher path, student path), which may contain ``*``; required by recipes that compare features.
        recipe: name of a recipe; or a ``Stage`` or a list of them, whose terms may hold ``Distiller`` objects; or a
            ``Distiller`` object or class, which is trained beside the target (recipe ``joint``).
        options: of the recipe, e.g. ``{"distiller": "fitnet", "alpha": 0.3}``; a distiller may be an object.
        epochs: of each stage.
        steps: batches of an epoch; ``None``: all that the loader yields. Required for a loader without an end.
        training: settings as in an experiment's ``[training]``, e.g. ``{"lr": 3e-4, "schedule": "cosine"}``.
        loss: the reconstruction loss ``(output, target) -> scalar``.
        seed: of all random draws.
        callback: receives the events of training.
        progress: whether to display progress; ``None``: in a terminal and in a notebook.

    Returns:
        The trained student, the history and the metrics.

    Raises:
        UserError: arguments of another type, unknown names, wrong options, taps that match no module, incompatible
            shapes, networks that share weights, or a loader that yields nothing or runs dry.
    """
    if teacher is not None:
        refuse_no_module(teacher, "teacher")
    refuse_no_module(student, "student")
    refuse_shared_weights(teacher, student)
    refuse_frozen(student)
    _refuse_wrong_values(epochs, steps, seed, loss, callback)
    with kept_random_state():
        return _distill(
            teacher, student, train, validation, pairs, recipe, options, epochs, steps, training, loss, seed,
            combine(library_display(progress), callback or NullCallback()),
        )  # fmt: skip


def _refuse_wrong_values(epochs: object, steps: object, seed: object, loss: object, callback: object) -> None:
    """Raise ``UserError`` for numbers and functions of another type."""
    for name, value, least in (("epochs", epochs, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise UserError(f"{name}: expected an integer of at least {least}, got {value!r}")
    if not callable(loss):
        raise UserError(f"loss: expected a function (output, target) -> scalar, got a {type(loss).__name__}")
    if callback is not None and not hasattr(callback, "on_epoch_end"):
        raise UserError(f"callback: expected an i2ikd.Callback, got a {type(callback).__name__}")


def _distill(
    teacher: nn.Module | None,
    student: nn.Module,
    train: Iterable[Any],
    validation: Iterable[Any] | None,
    pairs: Sequence[tuple[str, str]] | None,
    recipe: Method,
    options: Mapping[str, Any] | None,
    epochs: int,
    steps: int | None,
    training: Mapping[str, Any] | None,
    loss: Loss,
    seed: int,
    callback: Callback,
) -> DistillResult:
    """Train a student; see ``distill``."""
    objects = Objects()
    stated = method_document(recipe, dict(options or {}), objects, "recipe")
    registry = objects.registry(default_registry())
    batches = LoaderBatches(train, seed, steps)
    validation_batches = None if validation is None else _validation(validation)
    settings = merge_training(Training(epochs=epochs), {"batch": batches.size, **(training or {})}, "training")
    if settings.augmentations:
        raise UserError(
            f"training.augmentations = {list(settings.augmentations)}: expected none, because the loader makes the "
            "samples; augment them in its data set, which is read again in every epoch"
        )
    device = resolve_device(settings.device)
    shared = TrainingContext(
        registry=registry,
        task=_LoaderTask(loss),
        batches=batches,
        validation=None if validation_batches is None else lambda: validation_batches,
        device=device,
        precision=resolve_precision(settings.precision, device),
        inputs={} if teacher is None else {"teacher": teacher.to(device)},
        models={} if teacher is None else {"teacher": type(teacher).__name__},
        pairs=None if pairs is None else _checked_pairs(pairs),
        callback=combine(callback, HookCallback(registry)),
    )
    for example in (shared.example(), *(validation_batches or [])[:1]):
        if teacher is not None:
            try_on(teacher, shared.to_device(example), "teacher")
        try_on(student.to(device), shared.to_device(example), "student")
    model, name = type(student).__name__, stated.pop("recipe")
    where = f"recipe {name!r}"
    dry_run = DryRun(lambda: (shared, student), model, "student")
    stages: list[Stage] = registry.get("recipe", name, where).create(stated, where, registry, dry_run)
    for part in dry_run.left_out:
        logger.warning("%s leaves out: %s", where, part)
    planned = plan_stages(stages, settings, where)
    context = RunContext("student", seed, None, {"recipe": name, "epochs": epochs}, student)
    trainer = Trainer(context, student, planned, shared, model)
    try:
        _train(trainer, shared)
    except loop.Interrupted:
        raise KeyboardInterrupt from None
    metrics: dict[str, dict[str, float]] = {}
    for name, network in (("teacher", teacher), ("student", student)):
        if network is not None and validation_batches:
            metrics[name] = _scores(network, validation_batches, shared)
    return DistillResult(student.eval(), trainer.history, metrics)


def _validation(loader: Iterable[Any]) -> list[Batch]:
    """Return the validation batches, read once."""
    refuse_no_loader(loader, "validation")
    batches = [as_batch(item, "validation") for item in loader]
    if not batches:
        raise UserError("validation: expected at least one batch, got none; pass None to train without validation")
    return batches


def _checked_pairs(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    for pair in pairs if isinstance(pairs, Sequence) and not isinstance(pairs, str) else [pairs]:
        if not isinstance(pair, tuple | list) or [type(path) for path in pair] != [str, str]:
            raise UserError(f"pairs: expected a list of (teacher path, student path), got {pair!r} in it")
    return [(left, right) for left, right in pairs]


def _train(trainer: Trainer, shared: TrainingContext) -> None:
    """Run the loop; callbacks receive the run's start and end, also after an error."""
    shared.events.on_run_start(trainer.run)
    try:
        loop.train(trainer.run.name, [trainer], shared)
    except BaseException as error:
        trainer.run.error = error
        raise
    finally:
        shared.events.on_run_end(trainer.run)


@torch.no_grad()
def _scores(network: nn.Module, batches: Iterable[Batch], shared: TrainingContext) -> dict[str, float]:
    """Return the mean over slices and channels of every metric, without slices where it is undefined (NaN)."""
    metrics: dict[str, Metric] = {name: shared.registry.create("metric", full) for name, full in _METRICS.items()}
    values: dict[str, list[float]] = {name: [] for name in metrics}
    flags = {module: module.training for module in network.modules()}
    network.eval()
    for batch in batches:
        on_device = shared.to_device(batch)
        with autocast(shared.device, shared.precision):
            output = apply(network, on_device).float().cpu().numpy()
        target = batch.target.float().cpu().numpy()
        for image, reference in zip(output.reshape(-1, *output.shape[-2:]), target.reshape(-1, *target.shape[-2:])):
            for name, metric in metrics.items():
                values[name].append(metric(image, reference))
    for module, flag in flags.items():
        module.training = flag
    return {name: _mean_of_defined(scores) for name, scores in values.items()}


def _mean_of_defined(scores: list[float]) -> float:
    defined = [score for score in scores if not math.isnan(score)]
    return sum(defined) / len(defined) if defined else math.nan


def load(run: str | Path, *, trust: bool = False) -> nn.Module:
    """Load the trained network of a run, after the transforms of its arm, or of a bundle; in eval mode.

    Args:
        run: folder of a run, e.g. ``runs/brain-4x/students/kd-mri/seed0``, or a bundle (``i2ikd export --bundle``, or
            ``zoo:NAME``). The network of a bundle runs in ONNX Runtime, has no parameters, and needs no plugin.
        trust: whether to import the model if its weights name it as ``import:package.module:Name``; use it for files
            of your own.

    Raises:
        UserError: the folder is neither a finished run nor a bundle, or the plugin that registers the model of a run is
            not installed.
    """
    if not isinstance(run, str | Path):
        raise UserError(f"load: expected the folder of a run or a bundle, got a {type(run).__name__}")
    run = located(run)
    if is_bundle(run):
        return load_bundle(run)
    owner, registry = owner_of(run, ()), registry_for_stored(trust=trust)
    with kept_random_state():
        if owner is None:
            return load_network(registry, finished_run(run))
        return finished_network(registry, run, owner)
