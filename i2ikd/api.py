"""Python interface: distil one network into another on a loader, and load trained networks."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.callback import Callback, NullCallback, RunContext, combine
from i2ikd.config import Training, merge_training
from i2ikd.deploy.predictor import is_bundle, load_bundle
from i2ikd.engine import loop
from i2ikd.engine.batches import LoaderBatches, as_batch
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import keep_large_blocks, resolve_device
from i2ikd.engine.dry_run import DryRun
from i2ikd.engine.plan import plan_stages
from i2ikd.engine.precision import autocast, resolve_precision
from i2ikd.engine.run import load_network
from i2ikd.engine.trainer import Trainer
from i2ikd.errors import UserError
from i2ikd.experiment.finished import finished_network, finished_run, owner_of, registry_for_stored
from i2ikd.experiment.tracking import HookCallback
from i2ikd.metric import Metric
from i2ikd.network import apply
from i2ikd.recipe import Stage
from i2ikd.registry import default_registry
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task
from i2ikd.zoo import located

logger = logging.getLogger("i2ikd")

_METRICS = {"psnr": "psnr-slice-max", "ssim": "ssim-slice-max", "nmse": "nmse-slice"}


@dataclass
class DistillResult:
    """Result of ``distill``.

    Attributes:
        student: the trained student, in eval mode; the module that was passed.
        history: a row per epoch: stage, epoch, mean of every term, learning rate, validation loss.
        metrics: means over the validation slices, by network (``student``, ``teacher``) and metric (``psnr``: dB,
            peak the target's maximum; ``ssim``; ``nmse``); empty without validation data.
    """

    student: nn.Module
    history: list[dict[str, Any]]
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


class _LoaderTask(Task):
    """Task of ``distill``: the loss alone, as loaders provide the data."""

    def __init__(self, loss: Any) -> None:
        self._loss = loss

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss that was passed to ``distill``."""
        result: torch.Tensor = self._loss(output, target)
        return result

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
    recipe: str = "kd-mri",
    options: Mapping[str, Any] | None = None,
    epochs: int = 20,
    training: Mapping[str, Any] | None = None,
    loss: Any = torch.nn.functional.l1_loss,
    seed: int = 0,
    callback: Callback | None = None,
) -> DistillResult:
    """Train a student with knowledge from a teacher.

    Args:
        teacher: a trained network, called as ``teacher(input, **conditions)``; it is not changed. ``None`` for
            recipes without a teacher.
        student: the network to train, in place.
        train: a loader with a length, of ``i2ikd.Batch`` or ``(input, target)`` pairs, [B, C, H, W] each.
        validation: likewise; selects the best weights of each stage, and the metrics are computed on it.
        pairs: taps (teacher path, student path), which may contain ``*``; required by recipes that compare features.
        recipe: name of a recipe.
        options: of the recipe, e.g. ``{"distiller": "fitnet", "alpha": 0.3}``.
        epochs: of each stage.
        training: settings as in an experiment's ``[training]``, e.g. ``{"lr": 3e-4, "schedule": "cosine"}``.
        loss: the reconstruction loss ``(output, target) -> scalar``.
        seed: of all random draws.
        callback: receives the events of training.

    Returns:
        The trained student, the history and the metrics.

    Raises:
        UserError: unknown names, wrong options, taps that match no module, or incompatible shapes.
    """
    keep_large_blocks()
    registry = default_registry()
    batches = LoaderBatches(train, seed)
    settings = merge_training(Training(epochs=epochs), {"batch": batches.size, **(training or {})}, "training")
    device = resolve_device(settings.device)
    validation_batches = None if validation is None else [as_batch(item) for item in validation]
    shared = TrainingContext(
        registry=registry,
        task=_LoaderTask(loss),
        batches=batches,
        validation=None if validation_batches is None else lambda: validation_batches,
        device=device,
        precision=resolve_precision(settings.precision, device),
        inputs={} if teacher is None else {"teacher": teacher.to(device)},
        models={} if teacher is None else {"teacher": type(teacher).__name__},
        pairs=None if pairs is None else [(left, right) for left, right in pairs],
        callback=combine(callback or NullCallback(), HookCallback(registry)),
    )
    model, where = type(student).__name__, f"recipe {recipe!r}"
    dry_run = DryRun(lambda: (shared, student.to(device)), model, "student")
    stages: list[Stage] = registry.get("recipe", recipe, where).create(options, where, registry, dry_run)
    for part in dry_run.left_out:
        logger.warning("%s leaves out: %s", where, part)
    planned = plan_stages(stages, settings, where)
    context = RunContext("student", seed, None, {"recipe": recipe, "epochs": epochs}, student)
    trainer = Trainer(context, student, planned, shared, model)
    _train(trainer, shared)
    metrics: dict[str, dict[str, float]] = {}
    for name, network in (("teacher", teacher), ("student", student)):
        if network is not None and validation_batches:
            metrics[name] = _scores(network, validation_batches, shared)
    return DistillResult(student.eval(), trainer.history, metrics)


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
    run = located(run)
    if is_bundle(run):
        return load_bundle(run)
    owner, registry = owner_of(run, ()), registry_for_stored(trust=trust)
    if owner is None:
        return load_network(registry, finished_run(run))
    return finished_network(registry, run, owner)
