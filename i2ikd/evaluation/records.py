"""Scores of every slice as records: computed in parallel, stored as CSV, reduced to one value per volume."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from i2ikd.errors import UserError, nearest
from i2ikd.files import write_atomically
from i2ikd.metric import Metric

NO_SEED = -1
"""Pseudo-seed of an arm that trains nothing (zero-filled, bicubic)."""

_HEAD = ["arm", "seed", "subject", "volume", "slice"]
_HEAD_WITHOUT_SUBJECT = ["arm", "seed", "volume", "slice"]


class VolumeName(NamedTuple):
    """A volume of a subject: two subjects may each have a volume of one name (``session-1``)."""

    subject: str
    volume: str


@dataclass(frozen=True)
class Record:
    """Scores of one arm with one seed on one slice; a volume's score is repeated on each of its slices."""

    arm: str
    seed: int
    subject: str
    volume: str
    slice: int
    scores: dict[str, float]

    @property
    def whole(self) -> VolumeName:
        """The volume that contains the slice."""
        return VolumeName(self.subject, self.volume)


@dataclass(frozen=True, eq=False)
class VolumeImages:
    """Predictions and targets of one volume.

    Attributes:
        name: of the volume.
        predictions: [S, H, W], or [S, C, H, W] with several channels.
        targets: of the shape of the predictions.
        indices: of its slices; ``None``: 0, 1, ...
        subject: of the volume; ``None``: the volume's name.
    """

    name: str
    predictions: np.ndarray
    targets: np.ndarray
    indices: Sequence[int] | None = None
    subject: str | None = None


class _Call(NamedTuple):
    volume: VolumeImages
    name: str
    metric: Metric
    slice: int | None

    def score(self) -> float:
        try:
            return float(self.metric(self._part(self.volume.predictions), self._part(self.volume.targets)))
        except UserError as error:
            raise UserError(f"{self.name} of {self.volume.name}: {error}") from error

    def _part(self, images: np.ndarray) -> np.ndarray:
        """Return one slice, or all planes [S * C, H, W] of the volume."""
        return images.reshape(-1, *images.shape[-2:]) if self.slice is None else images[self.slice]


def score_volume(metrics: Mapping[str, Metric], predictions: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    """Score one volume [S, H, W] or [S, C, H, W] on this thread; scores by metric name, slice by slice.

    Raises:
        UserError: arrays that do not fit each other or the metric, or values that are not finite.
    """
    volume = VolumeImages("the volume", predictions, targets)
    return _rows(volume, metrics, map(_Call.score, _calls(volume, metrics)))


def score_volumes(
    metrics: Mapping[str, Metric],
    volumes: Sequence[VolumeImages],
    arm: str,
    seed: int = NO_SEED,
    workers: int | None = None,
    pool: Executor | None = None,
) -> list[Record]:
    """Score volumes on the threads of ``pool``; without it on ``workers``, or as many as the process has cores.

    Records come in the order of the volumes and slices, and do not depend on the number of threads.

    Raises:
        UserError: as ``score_volume``; the message names the volume.
    """
    calls = [call for volume in volumes for call in _calls(volume, metrics)]
    records = []
    with scoring_pool(workers) if pool is None else contextlib.nullcontext(pool) as threads:
        scores = threads.map(_Call.score, calls)
        for volume in volumes:
            rows = _rows(volume, metrics, scores)
            indices = range(len(rows)) if volume.indices is None else volume.indices
            subject = volume.name if volume.subject is None else volume.subject
            records += [
                Record(arm, seed, subject, volume.name, int(index), row)
                for index, row in zip(indices, rows, strict=True)
            ]
    return records


def scoring_pool(workers: int | None = None) -> ThreadPoolExecutor:
    """Return threads for ``score_volumes``: ``workers``, or as many as the process has cores."""
    return ThreadPoolExecutor(workers or _cores())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _calls(volume: VolumeImages, metrics: Mapping[str, Metric]) -> list[_Call]:
    """Return the metric calls of a volume, in the order in which ``_rows`` reads the results."""
    predictions, targets = volume.predictions, volume.targets
    if predictions.ndim not in (3, 4) or predictions.shape != targets.shape:
        raise UserError(
            f"{volume.name}: predictions and targets are stacks [S, H, W] or [S, C, H, W] of one shape, not "
            f"{predictions.shape} and {targets.shape}"
        )
    for role, images in (("prediction", predictions), ("target", targets)):
        bad = int(images.size - np.count_nonzero(np.isfinite(images)))
        if bad:
            cause = "; the network has diverged: train it with a lower learning rate" if role == "prediction" else ""
            raise UserError(f"{volume.name}: {bad} of {images.size} values of the {role} are not finite{cause}")
    places: dict[str, Sequence[int | None]] = {"volume": [None], "slice": range(len(targets))}
    return [_Call(volume, name, metric, place) for name, metric in metrics.items() for place in places[metric.scope]]


def _rows(volume: VolumeImages, metrics: Mapping[str, Metric], scores: Iterator[float]) -> list[dict[str, float]]:
    count = len(volume.targets)
    columns = {
        name: [next(scores)] * count if metric.scope == "volume" else [next(scores) for _ in range(count)]
        for name, metric in metrics.items()
    }
    return [{name: column[index] for name, column in columns.items()} for index in range(count)]


def write_records(path: str | Path, records: Sequence[Record]) -> None:
    """Write records as CSV, atomically; see ``records_text``.

    Raises:
        UserError: the file cannot be written; an older one is then untouched.
    """
    write_atomically(path, records_text(records))


def records_text(records: Sequence[Record]) -> str:
    """Return records as CSV; floats are written such that reading returns equal numbers.

    The header is ``arm,seed,subject,volume,slice`` and the metrics in order of appearance; a cell is empty where a
    record lacks the metric.
    """
    names = list(dict.fromkeys(name for record in records for name in record.scores))
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_HEAD + names)
    for record in records:
        cells = [repr(float(record.scores[name])) if name in record.scores else "" for name in names]
        table.writerow([record.arm, record.seed, record.subject, record.volume, record.slice, *cells])
    return text.getvalue()


def read_records(path: str | Path) -> list[Record]:
    """Read records from a file written by ``write_records``.

    Raises:
        UserError: the file cannot be read, or is no table of records; the message names file and line.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            table = csv.reader(stream)
            header = next(table, [])
            if header[: len(_HEAD_WITHOUT_SUBJECT)] == _HEAD_WITHOUT_SUBJECT:
                raise UserError(
                    f"{path} has no column 'subject': an older version of i2ikd wrote it; run `i2ikd compare` again on "
                    "its folder, which scores the saved weights again without training"
                )
            if header[: len(_HEAD)] != _HEAD:
                raise UserError(f"{path} is no table of records: its first line must start with {','.join(_HEAD)}")
            names = header[len(_HEAD) :]
            return [_record(cells, names, f"{path}, line {table.line_num}") for cells in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _record(cells: list[str], names: list[str], where: str) -> Record:
    width = len(_HEAD) + len(names)
    if len(cells) != width:
        raise UserError(f"{where}: {len(cells)} cells where the header has {width}")
    arm, seed, subject, volume, index, *values = cells
    try:
        scores = {name: float(value) for name, value in zip(names, values) if value}
        return Record(arm, int(seed), subject, volume, int(index), scores)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def per_volume(records: Sequence[Record], metric: str) -> dict[tuple[str, int, VolumeName], float]:
    """Return the mean over slices by (arm, seed, (subject, volume)), in order of appearance.

    Slices where the metric is undefined (NaN: a target without signal) are left out; a volume of such slices only is
    NaN.

    Raises:
        UserError: no record has the metric; the message has the nearest name.
    """
    slices: dict[tuple[str, int, VolumeName], list[float]] = {}
    for record in records:
        if metric in record.scores:
            slices.setdefault((record.arm, record.seed, record.whole), []).append(record.scores[metric])
    if records and not slices:
        known = {name for record in records for name in record.scores}
        raise UserError(f"no record has the metric {metric!r}; {nearest(metric, known)}")
    return {key: _mean(values) for key, values in slices.items()}


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    if not defined:
        return math.nan
    if min(defined) == max(defined):  # a volume's score, repeated on its slices, must come back exactly
        return defined[0]
    return math.fsum(defined) / len(defined)


class Tables(NamedTuple):
    """Values of the arms by volume, in the form that ``statistics`` takes.

    Attributes:
        arms: [seeds, volumes] by arm; NaN where there is no value.
        subjects: the subject of each volume.
    """

    arms: dict[str, np.ndarray]
    subjects: list[str]


def pivot(records: Sequence[Record], metric: str) -> Tables:
    """Return the arms' per-volume values [seeds, volumes], with the subject of each volume.

    Rows are the seeds and columns the volumes that occur in any record, sorted, so that cells of two arms match; a
    cell without a value is NaN. An arm that trains nothing (``NO_SEED``) has one row, which stands for every seed.

    Raises:
        UserError: as ``per_volume``.
    """
    values = per_volume(records, metric)
    seeds = sorted({seed for _, seed, _ in values} - {NO_SEED})
    volumes = sorted({volume for _, _, volume in values})
    columns = {volume: place for place, volume in enumerate(volumes)}
    untrained = {arm for arm, seed, _ in values if seed == NO_SEED}
    arms: dict[str, np.ndarray] = {}
    for (arm, seed, volume), value in values.items():
        if arm in untrained and seed != NO_SEED:
            raise UserError(f"the arm {arm!r} has records both with and without a seed")
        rows = [NO_SEED] if arm in untrained else seeds
        table = arms.setdefault(arm, np.full((len(rows), len(volumes)), np.nan))
        table[rows.index(seed), columns[volume]] = value
    return Tables(arms, [name.subject for name in volumes])
