"""Agreement of a delivered file with the network: on held-out slices, and at another size and batch size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from i2ikd.deploy.slices import EvenSlices
from i2ikd.errors import UserError
from i2ikd.evaluation.predict import predict
from i2ikd.evaluation.records import NO_SEED, Record, pivot, score_volumes
from i2ikd.export_form import stand_in
from i2ikd.exporter import Delivered, ExportRequest, Precision
from i2ikd.metric import Metric
from i2ikd.network import apply
from i2ikd.sample import Batch
from i2ikd.task import Task


class Limits(NamedTuple):
    """Limits of the difference to the network, relative to the range of its output.

    Attributes:
        largest: of a pixel.
        rms: root mean square.
    """

    largest: float
    rms: float


LIMITS: Mapping[Precision, Limits] = {
    "fp32": Limits(1e-4, 1e-5),
    "fp16": Limits(1e-2, 2e-3),
    "bf16": Limits(1e-1, 2e-2),
    "int8": Limits(1.0, 2e-2),
}
"""fp32: rounding, summed over layers. fp16 and bf16: 11 and 8 significant bits. int8: 2 % of the range is an image of
34 dB, at which a network of 30 dB loses 1.5 dB; a ruined data consistency has ten times the difference."""

_ONE_SIZE = "export for one size (--size HEIGHTxWIDTH; of the transform deliver: fixed = true), or in another format"
"""Remedy, as `i2ikd export` and an experiment state it."""


@dataclass(frozen=True)
class Check:
    """Comparison on random inputs.

    Attributes:
        batch: number of slices.
        size: height and width.
        largest_difference: largest difference of a pixel.
        rms_difference: root mean square.
        range: largest minus smallest value of the network's output.
    """

    batch: int
    size: tuple[int, int]
    largest_difference: float
    rms_difference: float
    range: float


@dataclass(frozen=True)
class Agreement:
    """Comparison of a file with the network.

    Attributes:
        slices: number of held-out slices; 0 if none has the size of the file.
        held_out: differences on these slices; ``None`` without such a slice.
        checks: differences on random inputs of other sizes and batch sizes.
        metrics: mean over volumes of each metric, of the network and of the file.
    """

    slices: int
    held_out: Check | None
    checks: Sequence[Check]
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        found = self.held_out
        return {
            "slices": self.slices,
            "largest_difference": None if found is None else found.largest_difference,
            "rms_difference": None if found is None else found.rms_difference,
            "range": None if found is None else found.range,
            "metrics": {column: dict(values) for column, values in self.metrics.items()},
            "checks": [asdict(check) for check in self.checks],
        }


def compare_on_random_inputs(loaded: Delivered, request: ExportRequest) -> Agreement:
    """Compare a file with the network on random inputs alone.

    Args:
        loaded: the file in its runtime.
        request: with the network.

    Raises:
        UserError: the runtime fails on an input that the network supports.
    """
    return Agreement(0, None, list(_checks(loaded, request)))


def compare(
    loaded: Delivered,
    request: ExportRequest,
    task: Task,
    held_out: EvenSlices,
    metrics: Mapping[str, Metric],
    checked: bool = True,
) -> Agreement:
    """Compare a file with the network.

    Args:
        loaded: the file in its runtime.
        request: with the network.
        task: converts outputs to the images that are scored.
        held_out: slices that the network was not trained on.
        metrics: by column.
        checked: whether random inputs are compared too.

    Raises:
        UserError: the runtime fails on an input that the network supports.
    """
    checks = list(_checks(loaded, request)) if checked else []
    size = tuple(request.batch.input.shape[-2:])
    usable = not request.fixed or all(tuple(held_out[i].input.shape[-2:]) == size for i in range(len(held_out)))
    if not usable:
        return Agreement(0, None, checks)
    differences = _Differences()

    @torch.inference_mode()
    def run(batch: Batch) -> dict[str, Tensor]:
        expected = apply(request.network, batch).float()
        found = torch.cat([_run(loaded, batch.select(torch.tensor([index]))) for index in range(len(batch))])
        differences.add(expected, found)
        return {"network": expected, "file": found}

    records: list[Record] = []
    for rows in predict(task, held_out, run):
        for arm, volume in rows.items():
            records += score_volumes(metrics, [volume], arm, NO_SEED)
    means = {column: _means(records, column) for column in metrics}
    return Agreement(len(held_out), differences.check(len(held_out), (size[0], size[1])), checks, means)


def _means(records: list[Record], metric: str) -> dict[str, float]:
    table = pivot(records, metric)
    return {arm: float(np.nanmean(values)) for arm, values in table.arms.items()}


def _checks(loaded: Delivered, request: ExportRequest) -> Iterator[Check]:
    """Compare on random inputs: one slice of the traced size, and three of another size unless the size is fixed."""
    height, width = request.batch.input.shape[-2:]
    other = (height, width) if request.fixed else _other_size(loaded, request.batch, (height, width))
    for samples, size in ((1, (height, width)), (3, other)):
        batch = stand_in(request.batch, samples, size, seed=1)
        differences = _Differences()
        differences.add(loaded.reference(batch), _run(loaded, batch))
        yield differences.check(samples, size)


def _other_size(loaded: Delivered, batch: Batch, size: tuple[int, int]) -> tuple[int, int]:
    """Return a size that the network supports: an odd one, or otherwise twice the size."""
    height, width = size
    odd = (height + 5, width + 3)
    try:
        loaded.reference(stand_in(batch, 1, odd))
    except Exception:  # the network requires multiples of a number
        return (2 * height, width)
    return odd


def _run(loaded: Delivered, batch: Batch) -> Tensor:
    height, width = batch.input.shape[-2:]
    try:
        output = loaded(batch).float()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"no file was written: {loaded.runtime} fails on {len(batch)} slice(s) of {height}x{width}, which the "
            f"network supports ({reason}); {_ONE_SIZE}"
        ) from error
    if not bool(torch.isfinite(output).all()):
        raise UserError(
            f"no file was written: {loaded.runtime} returns NaN or infinity for {len(batch)} slice(s) of "
            f"{height}x{width}; try another precision or format"
        )
    return output


class _Differences:
    """Differences of outputs, accumulated over batches."""

    def __init__(self) -> None:
        self._largest = self._squares = 0.0
        self._count = 0
        self._low, self._high = float("inf"), float("-inf")

    def add(self, expected: Tensor, found: Tensor) -> None:
        """Add outputs [B, C, H, W]."""
        if found.shape != expected.shape:
            raise UserError(f"the file returns {tuple(found.shape)} where the network returns {tuple(expected.shape)}")
        difference = found.double() - expected.double()
        self._largest = max(self._largest, float(difference.abs().max()))
        self._squares += float(difference.square().sum())
        self._count += difference.numel()
        self._low, self._high = min(self._low, float(expected.min())), max(self._high, float(expected.max()))

    def check(self, batch: int, size: tuple[int, int]) -> Check:
        """Return the differences of all added outputs."""
        rms = (self._squares / max(self._count, 1)) ** 0.5
        return Check(batch, size, self._largest, rms, self._high - self._low)


def refuse_disagreement(agreement: Agreement, output: Path, precision: Precision) -> None:
    """Raise ``UserError`` if a difference exceeds the limits of the precision.

    Args:
        agreement: comparison with the network.
        output: named in the message.
        precision: of the file.
    """
    limits = LIMITS[precision]
    random = [] if precision == "int8" and agreement.held_out is not None else agreement.checks
    for check in [*random, *([agreement.held_out] if agreement.held_out else [])]:
        scale = check.range or 1.0
        for word, value, limit in (
            ("largest difference", check.largest_difference, limits.largest),
            ("root mean square difference", check.rms_difference, limits.rms),
        ):
            if not value <= limit * scale:
                height, width = check.size
                where = "held-out slices" if check is agreement.held_out else f"random inputs of {height}x{width}"
                remedy = "try another precision" if precision != "fp32" else _ONE_SIZE
                raise UserError(
                    f"{output} was not written: expected a {word} to the network of at most {limit * scale:.2g} "
                    f"({precision}), got {value:.2g} on {where}; {remedy}"
                )
