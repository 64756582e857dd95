"""Run a network, or a task's baseline, over a split, and score every volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from i2ikd.engine.batches import ordered
from i2ikd.engine.precision import Precision, autocast
from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, VolumeImages, score_volumes
from i2ikd.metric import Metric
from i2ikd.network import apply, to_memory_format
from i2ikd.registry import Registry
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task

_BATCH = 4


def make_metrics(registry: Registry, task: Task) -> dict[str, Metric]:
    """Build the metrics of a task's table, by registered name.

    Raises:
        UserError: one is unknown.
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
    """Score a network on every slice of a split, in the data's order."""
    there = to_memory_format(network, device).eval()

    @torch.inference_mode()
    def run(batch: Batch) -> dict[str, Tensor]:
        with autocast(device, precision):
            return {arm: apply(there, batch.to(device, memory_format=torch.channels_last)).float().cpu()}

    return [record for volume in predict(task, dataset, run) for record in _scored(volume, metrics, seed)]


def evaluate_baselines(task: Task, dataset: SampleDataset, metrics: Mapping[str, Metric]) -> list[Record]:
    """Score what a person has without a network; arms are named by the task."""
    return [record for volume in predict(task, dataset, task.baseline) for record in _scored(volume, metrics, NO_SEED)]


def predict(
    task: Task, dataset: SampleDataset, run: Callable[[Batch], dict[str, Tensor]]
) -> Iterator[dict[str, VolumeImages]]:
    """Yield the images of one volume after the other, by row name, as the task looks at them.

    Raises:
        UserError: an empty split, a sample without a target, or images of another shape than their targets.
    """
    if len(dataset) == 0:
        raise UserError("the split that is to be evaluated has no slices")
    name, outputs, targets, indices = "", dict[str, list[np.ndarray]](), list[np.ndarray](), list[int]()
    for batch in ordered(dataset, _BATCH):
        if batch.labelled is not None:
            key = batch.keys[int((~batch.labelled).nonzero()[0])]
            raise UserError(f"evaluation: expected a target for every sample, got none for {key.volume}[{key.index}]")
        rows = run(batch)
        for place, key in enumerate(batch.keys):
            if key.volume != name and indices:
                yield _stack(name, outputs, targets, indices)
                outputs, targets, indices = {}, [], []
            name = key.volume
            indices.append(key.index)
            targets.append(task.to_display(batch.target[place]))
            for row, images in rows.items():
                outputs.setdefault(row, []).append(task.to_display(images[place]))
    yield _stack(name, outputs, targets, indices)


def _stack(
    name: str, outputs: dict[str, list[np.ndarray]], targets: list[np.ndarray], indices: list[int]
) -> dict[str, VolumeImages]:
    shapes = {image.shape for image in targets}
    if len(shapes) > 1:
        raise UserError(f"the slices of the volume {name!r} differ in shape: {sorted(shapes)}; a volume has one")
    whole = np.stack(targets)
    return {row: VolumeImages(name, np.stack(images), whole, indices) for row, images in outputs.items()}


def _scored(rows: dict[str, VolumeImages], metrics: Mapping[str, Metric], seed: int) -> list[Record]:
    return [record for row, volume in rows.items() for record in score_volumes(metrics, [volume], row, seed)]
