"""Evaluation of a network or of a task's baselines on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from i2ikd.engine.batches import ordered
from i2ikd.engine.precision import Precision, autocast
from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, VolumeImages, score_volumes, scoring_pool
from i2ikd.metric import Metric
from i2ikd.network import apply, to_memory_format
from i2ikd.registry import Registry
from i2ikd.sample import Batch, SampleKey
from i2ikd.task import SampleDataset, Task

_BATCH = 4


def make_metrics(registry: Registry, task: Task) -> dict[str, Metric]:
    """Create the metrics of a task's table.

    Args:
        registry: source of the metrics.
        task: its ``columns`` name the metrics.

    Returns:
        Metrics by registered name.

    Raises:
        UserError: a metric is not registered.
    """
    return {name: registry.create("metric", name) for name in task.columns.values()}


def evaluate_network(
    network: nn.Module,
    task: Task,
    dataset: SampleDataset,
    metrics: Mapping[str, Metric],
    arm: str,
    seed: int,
    device: torch.device,
    precision: Precision = "fp32",
) -> list[Record]:
    """Score a network on every slice of a split.

    Args:
        network: trained network; it is moved to ``device`` and set to eval mode.
        task: converts outputs to the images that are scored.
        dataset: the split.
        metrics: metrics by registered name.
        arm: name of the arm in the records.
        seed: seed of the run in the records.
        device: device of the forward passes.
        precision: precision of the forward passes; scores are computed from float32 images.

    Returns:
        One record per slice, in the order of the split.

    Raises:
        UserError: an empty split, or images whose shape differs from their targets'.
    """
    deployed = to_memory_format(network, device).eval()

    @torch.inference_mode()
    def run(batch: Batch) -> dict[str, Tensor]:
        with autocast(device, precision):
            return {arm: apply(deployed, batch.to(device, memory_format=torch.channels_last)).float().cpu()}

    return _scored(predict(task, dataset, run), metrics, seed)


def evaluate_baselines(task: Task, dataset: SampleDataset, metrics: Mapping[str, Metric]) -> list[Record]:
    """Score a task's non-learned baselines.

    Args:
        task: its ``baseline`` computes the images, by arm.
        dataset: the split.
        metrics: metrics by registered name.

    Returns:
        One record per baseline and slice, without a seed.

    Raises:
        UserError: an empty split, or images whose shape differs from their targets'.
    """
    return _scored(predict(task, dataset, task.baseline), metrics, NO_SEED)


def predict(
    task: Task, dataset: SampleDataset, run: Callable[[Batch], dict[str, Tensor]]
) -> Iterator[dict[str, VolumeImages]]:
    """Compute the images of a split, volume by volume.

    Args:
        task: converts outputs to images (``Task.to_display``).
        dataset: the split, whose slices are sorted by volume.
        run: computes outputs [B, C, H, W] by arm.

    Yields:
        Images and targets of one volume [S, H, W], or [S, C, H, W] with several channels, by arm.

    Raises:
        UserError: an empty split, a sample without a target, or slices of one volume that differ in shape.
    """
    if len(dataset) == 0:
        raise UserError("cannot evaluate: the split has no slices")
    outputs, targets, keys = dict[str, list[np.ndarray]](), list[np.ndarray](), list[SampleKey]()
    for batch in ordered(dataset, _BATCH):
        if batch.labelled is not None:
            key = batch.keys[int((~batch.labelled).nonzero()[0])]
            raise UserError(f"evaluation: expected a target for every sample, got none for {key.volume}[{key.index}]")
        rows = run(batch)
        for position, key in enumerate(batch.keys):
            if keys and (key.subject, key.volume) != (keys[0].subject, keys[0].volume):
                yield _stack(keys, outputs, targets)
                outputs, targets, keys = {}, [], []
            keys.append(key)
            targets.append(task.to_display(batch.target[position]))
            for row, images in rows.items():
                outputs.setdefault(row, []).append(task.to_display(images[position]))
    yield _stack(keys, outputs, targets)


def _stack(
    keys: Sequence[SampleKey], outputs: dict[str, list[np.ndarray]], targets: list[np.ndarray]
) -> dict[str, VolumeImages]:
    """Stack the slices of one volume along a first axis."""
    subject, name, _ = keys[0]
    indices = [key.index for key in keys]
    shapes = {image.shape for image in targets}
    if len(shapes) > 1:
        raise UserError(f"volume {name!r}: expected slices of one shape, got {sorted(shapes)}")
    stacked = np.stack(targets)
    return {row: VolumeImages(name, np.stack(images), stacked, indices, subject) for row, images in outputs.items()}


def _scored(volumes: Iterator[dict[str, VolumeImages]], metrics: Mapping[str, Metric], seed: int) -> list[Record]:
    """Score volumes of every arm, one after the other."""
    with scoring_pool() as pool:
        return [
            record
            for rows in volumes
            for row, volume in rows.items()
            for record in score_volumes(metrics, [volume], row, seed, pool=pool)
        ]
