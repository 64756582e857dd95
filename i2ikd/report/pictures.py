"""Images of the best, median and worst volume, computed from saved weights and stored for later reports."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, VolumeName, per_volume
from i2ikd.experiment.compare import table_rows
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.scores import network_of
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.files import replacing
from i2ikd.network import apply
from i2ikd.report.legend import describe_metric
from i2ikd.sample import Batch

FILE = "pictures.npz"
_MOST_ARMS = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """Images of the middle slice of one volume.

    Attributes:
        label: ``best``, ``median`` or ``worst``; ``only`` for the single volume of a split.
        subject: subject of the volume.
        volume: name of the volume.
        slice: index of the slice in the volume.
        target: target image [H, W], or [C, H, W] with several channels.
        images: output images of the target's shape by row of the table: baselines, teacher, arms.
        scores: first metric of the whole volume by row, of the same seed; rows without a score are missing.
    """

    label: str
    subject: str
    volume: str
    slice: int
    target: np.ndarray
    images: dict[str, np.ndarray]
    scores: dict[str, float]


Pictures = list[Picture]


def collect_pictures(graph: RunGraph, comparison: Comparison) -> Pictures:
    """Compute the output images of baselines, teacher and at most eight arms (first seed) on up to three slices.

    Args:
        graph: of the experiment's runs, which are finished.
        comparison: results that determine volumes and arms.

    Returns:
        One picture per volume: best, median, worst.

    Raises:
        UserError: the test split lacks a scored volume, or weights cannot be read.
    """
    seed = min((record.seed for record in comparison.records if record.seed != NO_SEED), default=0)
    context = graph.context
    rows = table_rows(graph, [context.experiment.arm(arm) for arm in _chosen_arms(comparison)], [seed])
    volumes = representative_volumes(comparison)
    samples = {label: _middle(context, volume) for label, volume in volumes.items()}
    images: dict[str, dict[str, np.ndarray]] = {label: {} for label in samples}
    for label, batch in samples.items():
        images[label] |= {
            name: context.task.to_display(image[0]) for name, image in context.task.baseline(batch).items()
        }
    for row in rows:
        network = network_of(context, row.runs[seed], row.combine, row.transforms)
        for label, output in _outputs(context, network, samples).items():
            images[label][row.name] = context.task.to_display(output)
    return [
        Picture(
            label,
            *batch.keys[0],
            context.task.to_display(batch.target[0]),
            images[label],
            _scores(comparison, volumes[label], seed, images[label]),
        )
        for label, batch in samples.items()
    ]


def representative_volumes(comparison: Comparison) -> dict[str, VolumeName]:
    """Return the best, median and worst volume by the first metric's mean over the arms.

    Args:
        comparison: the results, with records.

    Returns:
        Subjects and names of the volumes by label: ``best``, ``median``, ``worst``; ``best`` and ``worst`` for two
        volumes, ``only`` for one, nothing without records.
    """
    metric = next(iter(comparison.columns.values()))
    arms = {row.arm for row in comparison.rows if row.kind == "arm"}
    values: dict[VolumeName, list[float]] = {}
    for (arm, _, volume), value in per_volume(comparison.records, metric).items():
        if arm in arms and not math.isnan(value):
            values.setdefault(volume, []).append(value)
    upward = describe_metric(metric).higher_is_better is not False
    means = {volume: math.fsum(scores) / len(scores) for volume, scores in values.items()}
    order = sorted(means, key=lambda volume: (-means[volume] if upward else means[volume], volume))
    if not order:
        return {}
    if len(order) == 1:
        return {"only": order[0]}
    labels = {"best": order[0], "worst": order[-1]}
    return labels if len(order) == 2 else {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}


def _chosen_arms(comparison: Comparison) -> list[str]:
    """Return the references and the best other arms, at most ``_MOST_ARMS``, in the order of the rows."""
    first, metric = next(iter(comparison.columns.items()))
    sign = -1 if describe_metric(metric).higher_is_better is not False else 1
    arms = [row for row in comparison.rows if row.kind == "arm"]

    def key(row: Row) -> tuple[bool, bool, float]:
        mean = row.metrics[first].mean
        return row.arm not in comparison.references, math.isnan(mean), sign * mean

    ranked = sorted(arms, key=key)
    chosen = {row.arm for row in ranked[:_MOST_ARMS]}
    return [row.arm for row in arms if row.arm in chosen]


def _middle(context: ExperimentContext, volume: VolumeName) -> Batch:
    """Return the middle slice of a test volume as a batch of 1."""
    dataset = context.dataset("test")
    indices = [index for index, key in enumerate(dataset.keys) if (key.subject, key.volume) == volume]
    if not indices:
        raise UserError(
            f"the test split has no volume {volume.volume!r} of the subject {volume.subject!r}: the data has changed "
            "since the evaluation; compare again"
        )
    return Batch.collate([dataset[indices[len(indices) // 2]]])


@torch.inference_mode()
def _outputs(context: ExperimentContext, network: nn.Module, samples: dict[str, Batch]) -> dict[str, Tensor]:
    """Return a network's output [C, H, W] by label, on the CPU."""
    network.to(context.device)
    return {label: apply(network, batch.to(context.device)).float().cpu()[0] for label, batch in samples.items()}


def _scores(
    comparison: Comparison, volume: VolumeName, seed: int, rows: Sequence[str] | dict[str, Any]
) -> dict[str, float]:
    """Return the first metric of one volume by row, for one seed and the baselines."""
    metric = next(iter(comparison.columns.values()))
    selected: list[Record] = [r for r in comparison.records if r.whole == volume and r.seed in (seed, NO_SEED)]
    return {arm: value for (arm, _, _), value in per_volume(selected, metric).items() if arm in rows and value == value}


def save_pictures(pictures: Pictures, out: Path) -> Path:
    """Write targets and errors in half precision to ``out``/pictures.npz, atomically.

    Errors are stored instead of images: the rounding error is then relative to the error, not to the image.

    Args:
        pictures: the images to store.
        out: the comparison's folder.

    Returns:
        The file's path.

    Raises:
        UserError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    metadata = []
    for index, picture in enumerate(pictures):
        target = picture.target.astype(np.float16)
        arrays[f"{index}"] = target
        for row, image in enumerate(picture.images.values()):
            arrays[f"{index}.{row}"] = (image - target.astype(np.float32)).astype(np.float16)
        metadata.append(
            {
                "label": picture.label,
                "subject": picture.subject,
                "volume": picture.volume,
                "slice": picture.slice,
                "rows": list(picture.images),
                "scores": picture.scores,
            }
        )
    file = out / FILE
    with replacing(file, follow_link=False) as stream:
        np.savez_compressed(stream, metadata=np.array(json.dumps(metadata)), **arrays)  # type: ignore[arg-type]
    OutputManifest(out).state_files([file])
    return file


def load_pictures(out: Path) -> Pictures:
    """Read the file of ``save_pictures``.

    Args:
        out: the comparison's folder.

    Returns:
        The pictures; empty without a file.

    Raises:
        UserError: the file is damaged.
    """
    file = out / FILE
    if not file.is_file():
        return []
    OutputManifest(out).verify(file)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            metadata = json.loads(str(arrays["metadata"]))
            return [_picture(index, entry, arrays) for index, entry in enumerate(metadata)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged: {error}; delete it, or compare again") from None


def _picture(index: int, metadata: dict[str, Any], arrays: Any) -> Picture:
    """Restore one picture: images are target plus error."""
    target = arrays[f"{index}"].astype(np.float32)
    images = {row: target + arrays[f"{index}.{i}"].astype(np.float32) for i, row in enumerate(metadata["rows"])}
    position = metadata["subject"], metadata["volume"], metadata["slice"]
    return Picture(metadata["label"], *position, target, images, metadata["scores"])
