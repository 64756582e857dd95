"""Images of the best, the median and the worst volume, from saved weights; kept so that a report needs no data."""

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
from torch import Tensor

from i2ikd.engine.run import Run
from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, per_volume
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.summary import Comparison
from i2ikd.files import replacing
from i2ikd.network import apply
from i2ikd.report.legend import judged
from i2ikd.sample import Batch

FILE = "pictures.npz"
_MOST_ARMS = 8


@dataclass(frozen=True, eq=False)
class Picture:
    """The middle slice of one volume.

    Attributes:
        label: ``best``, ``median`` or ``worst``.
        volume: its name.
        slice: which slice of it.
        target: [H, W].
        images: [H, W] by row of the table: baselines, teacher, arms.
        scores: of the whole volume in the first column, with the same seed, by row; only where there is one.
    """

    label: str
    volume: str
    slice: int
    target: np.ndarray
    images: dict[str, np.ndarray]
    scores: dict[str, float]


Pictures = list[Picture]


def collect_pictures(context: ExperimentContext, comparison: Comparison) -> Pictures:
    """Run the compared networks of the first seed on three slices: every baseline, the teacher, at most eight arms.

    Args:
        bench: of the experiment; its runs are finished.
        comparison: says which volumes and which arms.
    """
    seed = min((record.seed for record in comparison.records if record.seed != NO_SEED), default=0)
    runs = {"teacher": context.teacher_run(seed)}
    runs |= {arm: context.arm_run(context.experiment.arm(arm), seed) for arm in _chosen_arms(comparison)}
    samples = {label: _middle(context, volume) for label, volume in telling_volumes(comparison).items()}
    images: dict[str, dict[str, np.ndarray]] = {label: {} for label in samples}
    for label, batch in samples.items():
        images[label] |= {
            name: context.task.to_display(image[0]) for name, image in context.task.baseline(batch).items()
        }
    for name, run in runs.items():
        for label, output in _outputs(context, run, samples).items():
            images[label][name] = context.task.to_display(output)
    return [
        Picture(
            label,
            batch.keys[0].volume,
            batch.keys[0].index,
            context.task.to_display(batch.target[0]),
            images[label],
            _scores(comparison, batch.keys[0].volume, seed, images[label]),
        )
        for label, batch in samples.items()
    ]


def telling_volumes(comparison: Comparison) -> dict[str, str]:
    """Return the best, median and worst volume by the mean over arms of the first column; fewer if there are fewer."""
    metric = next(iter(comparison.columns.values()))
    arms = {row.arm for row in comparison.rows if row.kind == "arm"}
    values: dict[str, list[float]] = {}
    for (arm, _, volume), value in per_volume(comparison.records, metric).items():
        if arm in arms and not math.isnan(value):
            values.setdefault(volume, []).append(value)
    upward = judged(metric).higher_is_better is not False
    means = {volume: math.fsum(found) / len(found) for volume, found in values.items()}
    order = sorted(means, key=lambda volume: (-means[volume] if upward else means[volume], volume))
    if not order:
        return {}
    if len(order) == 1:
        return {"only": order[0]}
    labels = {"best": order[0], "worst": order[-1]}
    return labels if len(order) == 2 else {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}


def _chosen_arms(comparison: Comparison) -> list[str]:
    """Return the references, then the best arms, in the order of the rows."""
    first, metric = next(iter(comparison.columns.items()))
    sign = -1 if judged(metric).higher_is_better is not False else 1
    arms = [row for row in comparison.rows if row.kind == "arm"]
    ranked = sorted(arms, key=lambda row: (row.arm not in comparison.references, sign * row.metrics[first].mean))
    chosen = {row.arm for row in ranked[:_MOST_ARMS]}
    return [row.arm for row in arms if row.arm in chosen]


def _middle(context: ExperimentContext, volume: str) -> Batch:
    dataset = context.dataset("test")
    places = [place for place, key in enumerate(dataset.keys) if key.volume == volume]
    if not places:
        raise UserError(f"the test split has no volume {volume!r} any more; its data has changed since it was scored")
    return Batch.collate([dataset[places[len(places) // 2]]])


@torch.inference_mode()
def _outputs(context: ExperimentContext, run: Run, samples: dict[str, Batch]) -> dict[str, Tensor]:
    network = context.load(run).to(context.device)
    return {label: apply(network, batch.to(context.device)).float().cpu()[0] for label, batch in samples.items()}


def _scores(comparison: Comparison, volume: str, seed: int, rows: Sequence[str] | dict[str, Any]) -> dict[str, float]:
    metric = next(iter(comparison.columns.values()))
    here: list[Record] = [r for r in comparison.records if r.volume == volume and r.seed in (seed, NO_SEED)]
    return {arm: value for (arm, _, _), value in per_volume(here, metric).items() if arm in rows and value == value}


def save_pictures(pictures: Pictures, out: Path) -> Path:
    """Write ``out``/pictures.npz, atomically: targets and errors in half precision.

    Errors, not images, are kept: half precision is then fine where networks are close to the target.
    """
    arrays: dict[str, np.ndarray] = {}
    metadata = []
    for place, picture in enumerate(pictures):
        target = picture.target.astype(np.float16)
        arrays[f"{place}"] = target
        for row, image in enumerate(picture.images.values()):
            arrays[f"{place}.{row}"] = (image - target.astype(np.float32)).astype(np.float16)
        metadata.append(
            {
                "label": picture.label,
                "volume": picture.volume,
                "slice": picture.slice,
                "rows": list(picture.images),
                "scores": picture.scores,
            }
        )
    file = out / FILE
    with replacing(file) as stream:
        np.savez_compressed(stream, metadata=np.array(json.dumps(metadata)), **arrays)  # type: ignore[arg-type]
    return file


def load_pictures(out: Path) -> Pictures:
    """Read what ``save_pictures`` wrote; nothing where no pictures were kept.

    Raises:
        UserError: the file is damaged.
    """
    file = out / FILE
    if not file.is_file():
        return []
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            metadata = json.loads(str(arrays["facts"]))
            return [_picture(place, entry_, arrays) for place, entry_ in enumerate(metadata)]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is damaged ({error}); delete it, or compare again") from None


def _picture(place: int, metadata: dict[str, Any], arrays: Any) -> Picture:
    target = arrays[f"{place}"].astype(np.float32)
    images = {row: target + arrays[f"{place}.{index}"].astype(np.float32) for index, row in enumerate(metadata["rows"])}
    return Picture(metadata["label"], metadata["volume"], metadata["slice"], target, images, metadata["scores"])
