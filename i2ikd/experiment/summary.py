"""What a comparison found: a row per arm with costs, quality, closure and differences; its JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from i2ikd.evaluation.records import Record, Tables, pivot
from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed, gap_closed, holm, interval, paired, ranks

RowKind = Literal["baseline", "teacher", "arm"]


@dataclass(frozen=True)
class Costs:
    """What one slice costs."""

    params: int
    macs: int
    latency_ms: float | None = None
    latency_spread_ms: float | None = None


@dataclass
class Row:
    """One row of the table."""

    arm: str
    kind: RowKind
    costs: Costs | None
    metrics: dict[str, Estimate]
    """By column of the table (``psnr``, ...)."""
    gap_closed: GapClosed | None = None
    """Of the first column's metric; for arms only."""
    differences: dict[str, Difference] = field(default_factory=dict)
    """Arm minus reference in the first column's metric, by reference (``student``, ``control``, ...)."""
    corrected: dict[str, float] = field(default_factory=dict)
    """The differences' p-values, Holm-corrected over the arms."""
    rank: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The object in ``results.json``."""
        return {
            "arm": self.arm,
            "kind": self.kind,
            "params": self.costs.params if self.costs else None,
            "macs": self.costs.macs if self.costs else None,
            "latency_ms": self.costs.latency_ms if self.costs else None,
            "latency_spread_ms": self.costs.latency_spread_ms if self.costs else None,
            **{column: estimate.as_json() for column, estimate in self.metrics.items()},
            "gap_closed": self.gap_closed.as_json() if self.gap_closed else None,
            "differences": {
                name: {**difference.as_json(), "p_holm": self.corrected.get(name)}
                for name, difference in self.differences.items()
            },
            "rank": self.rank,
        }


@dataclass
class Comparison:
    """Everything that a table, a figure or a report is made from.

    Attributes:
        name: of the experiment.
        metadata: what was measured on: data, acceleration, size, device, seeds.
        columns: column -> name of the metric, scope and peak included; the first is what closure is about.
        rows: baselines, teacher, arms.
        records: scores of every arm, seed, subject, volume and slice.
        histories: per run name, the rows of its training history.
        references: arms that the others are measured against.
        higher_is_better: in the first column.
        conclusions: what the rows show, a sentence each.
    """

    name: str
    metadata: dict[str, str]
    columns: dict[str, str]
    rows: list[Row]
    records: list[Record]
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    higher_is_better: bool = True
    conclusions: list[str] = field(default_factory=list)

    def row(self, arm: str) -> Row | None:
        """Return an arm's row."""
        return next((row for row in self.rows if row.arm == arm), None)

    def as_json(self) -> dict[str, Any]:
        """The content of ``results.json``."""
        return {
            "name": self.name,
            "metadata": self.metadata,
            "metrics": self.columns,
            "references": self.references,
            "conclusions": self.conclusions,
            "rows": [row.as_json() for row in self.rows],
        }


def summarise(
    name: str,
    metadata: dict[str, str],
    columns: Mapping[str, str],
    records: Sequence[Record],
    kinds: Mapping[str, RowKind],
    costs: Mapping[str, Costs],
    references: Sequence[str],
    student: str,
    higher_is_better: Mapping[str, bool],
) -> Comparison:
    """Turn records into rows. An arm without any score in the first column has neither closure, differences nor rank.

    Args:
        name: of the experiment.
        metadata: what was measured on.
        columns: column -> metric name; the first is the one that closure and differences are about.
        records: of all arms.
        kinds: of every arm, in the order of the rows.
        costs: of the arms that are networks.
        references: arms to take paired differences to; those without a score in the first column are left out.
        student: the arm at which closure is 0.
        higher_is_better: by metric name.
    """
    tables = {column: pivot(records, metric) for column, metric in columns.items()}
    main = next(iter(columns))
    upward = higher_is_better[columns[main]]
    scored = {arm: table for arm, table in tables[main].arms.items() if not np.isnan(table).all()}
    values = Tables(scored, tables[main].subjects)
    present = [reference for reference in references if reference in values.arms]
    rows = []
    for arm, kind in kinds.items():
        scores = {column: interval(table.arms[arm], table.subjects) for column, table in tables.items()}
        row = Row(arm, kind, costs.get(arm), scores)
        if kind == "arm" and arm in values.arms:
            _relate(row, values, present, student, upward)
        rows.append(row)
    _correct(rows, present)
    found = ranks({row.arm: row.metrics[main] for row in rows if row.kind == "arm"}, upward)
    for row in rows:
        row.rank = found.get(row.arm)
    return Comparison(name, metadata, dict(columns), rows, list(records), references=present, higher_is_better=upward)


def _relate(row: Row, values: Tables, references: Sequence[str], student: str, upward: bool) -> None:
    arms, subjects = values
    if student in arms and "teacher" in arms and row.arm != student:
        row.gap_closed = gap_closed(arms[row.arm], arms[student], arms["teacher"], subjects, upward)
    for reference in references:
        if reference != row.arm:
            row.differences[reference] = paired(arms[row.arm], arms[reference], subjects)


def _correct(rows: Sequence[Row], references: Sequence[str]) -> None:
    """Correct each reference's p-values for the number of arms compared with it."""
    for reference in references:
        raw = {row.arm: row.differences[reference].p for row in rows if reference in row.differences}
        for arm, p in holm(raw).items():
            next(row for row in rows if row.arm == arm).corrected[reference] = p
