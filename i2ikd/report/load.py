"""Load a finished comparison from its folder; neither data nor weights are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.store import Store
from i2ikd.errors import UserError
from i2ikd.evaluation.records import Record, read_records
from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed
from i2ikd.experiment.costs import EAGER, Costs, ThreadLatency
from i2ikd.experiment.folder import read_owner
from i2ikd.experiment.summary import Comparison, Conclusion, Row, RowKind
from i2ikd.files import read_model


class _Estimate(BaseModel):
    """Estimate in ``results.json``; ``null`` stands for an undefined number."""

    model_config = ConfigDict(extra="forbid")
    mean: float | None
    low: float | None
    high: float | None
    n: int


class _Difference(_Estimate):
    p: float | None
    p_holm: float | None = None


class _Gap(_Estimate):
    gap: float | None
    gap_too_small: bool | None


class _Latency(BaseModel):
    model_config = ConfigDict(extra="forbid")
    threads: int
    median_ms: float
    spread_ms: float
    cpu_ms: float | None = None


class _Row(BaseModel):
    """Row in ``results.json``; further keys are columns of metrics."""

    model_config = ConfigDict(extra="allow")
    arm: str
    kind: RowKind
    params: int | None
    macs: int | None
    latency_ms: float | None
    latency_spread_ms: float | None
    bytes: int | None = None
    runtime: str | None = None
    precision: str | None = None
    file: str | None = None
    full_precision: list[str] | None = None
    latencies: list[_Latency] | None = None
    gap_closed: _Gap | None
    differences: dict[str, _Difference]
    rank: int | None


class _Conclusion(BaseModel):
    text: str
    arm: str = ""
    warning: bool = False


class _Results(BaseModel):
    """Content of ``results.json``."""

    name: str
    metadata: dict[str, str]
    metrics: dict[str, str] = Field(min_length=1)
    references: list[str]
    student: str | None
    control: str
    higher_is_better: bool
    conclusions: list[_Conclusion]
    rows: list[_Row]


def load_comparison(out: Path) -> Comparison:
    """Load the results of ``compare``: ``results.json``, ``records.csv`` and the runs' training histories.

    Args:
        out: the comparison's output folder.

    Returns:
        The comparison, equal to the one that ``compare`` returned.

    Raises:
        UserError: ``out`` is not the folder of a comparison, the comparison is unfinished, or a file is damaged.
    """
    owner = read_owner(out)
    results, scores = out / "results.json", out / "records.csv"
    for file in (results, scores):
        if not file.is_file():
            raise UserError(
                f"{out}: the comparison {owner.get('name')!r} is unfinished: {file.name} is missing; "
                f"continue it with `i2ikd compare EXPERIMENT.toml --out {out}`"
            )
        OutputManifest(out).verify(file)
    content = read_model(results, _Results, "run `i2ikd compare` again")
    comparison = Comparison(
        name=content.name,
        metadata=content.metadata,
        columns=content.metrics,
        rows=[_row(row, content.metrics, results) for row in content.rows],
        records=read_records(scores),
        references=content.references,
        student=content.student,
        control=content.control,
        higher_is_better=content.higher_is_better,
        conclusions=[Conclusion(**conclusion.model_dump()) for conclusion in content.conclusions],
    )
    comparison.histories.update(_histories(out, comparison.records))
    return comparison


def _histories(out: Path, records: list[Record]) -> dict[str, list[dict[str, Any]]]:
    """Return the training histories by ``arm/seedN``; runs without one are left out."""
    store = Store(out)
    histories = {}
    for arm, seed in dict.fromkeys((record.arm, record.seed) for record in records):
        folder = store.named(f"teacher/seed{seed}" if arm == "teacher" else f"students/{arm}/seed{seed}")
        history = folder.history() if folder is not None else []
        if history:
            histories[f"{arm}/seed{seed}"] = history
    return histories


def _row(row: _Row, columns: dict[str, str], file: Path) -> Row:
    """Build a row from its JSON object."""
    estimates = {}
    for column in columns:
        try:
            estimates[column] = Estimate(**_undefined(_Estimate.model_validate((row.model_extra or {}).get(column))))
        except ValidationError:
            raise UserError(
                f"{file}: rows.{row.arm}.{column}: expected mean, low, high and n; run `i2ikd compare` again"
            ) from None
    gap = row.gap_closed
    closed = None if gap is None else GapClosed(**{**_undefined(gap), "gap_too_small": gap.gap_too_small})
    differences = {name: _undefined(values, {"p_holm"}) for name, values in row.differences.items()}
    return Row(
        arm=row.arm,
        kind=row.kind,
        costs=_costs(row),
        metrics=estimates,
        gap_closed=closed,
        differences={name: Difference(**values) for name, values in differences.items()},
        corrected={name: values.p_holm for name, values in row.differences.items() if values.p_holm is not None},
        rank=row.rank,
    )


def _costs(row: _Row) -> Costs | None:
    """Return the costs of a row; results of older versions state neither bytes nor a runtime."""
    if row.params is None or row.macs is None:
        return None
    return Costs(
        params=row.params,
        macs=row.macs,
        latency_ms=row.latency_ms,
        latency_spread_ms=row.latency_spread_ms,
        bytes=row.bytes,
        runtime=row.runtime or EAGER,
        precision=row.precision or "fp32",
        file=row.file,
        full_precision=tuple(row.full_precision or ()),
        latencies=tuple(ThreadLatency(**latency.model_dump()) for latency in row.latencies or ()),
    )


def _undefined(values: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """Replace ``null``, JSON's form of an undefined number, by NaN."""
    return {key: math.nan if value is None else value for key, value in values.model_dump(exclude=exclude).items()}
