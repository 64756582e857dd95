"""The cells of a comparison's table, before any format: terminal, Markdown, LaTeX and the page all write these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.registry import Registry
from i2ikd.report import numbers
from i2ikd.report.legend import Judged, judged, roles


@dataclass(frozen=True)
class Cell:
    """One cell: the value as text, its interval, a remark (a p-value); ``value`` is what to sort by."""

    text: str
    interval: str = ""
    remark: str = ""
    value: float | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.interval, self.remark) if part)


@dataclass(frozen=True)
class Column:
    """A column with its heading."""

    key: str
    title: str
    unit: str = ""
    arrow: Literal["", "↑", "↓"] = ""
    part: Literal["arm", "cost", "metric", "closure", "difference", "rank"] = "metric"

    @property
    def heading(self) -> str:
        """Title, unit and direction in one line."""
        return " ".join(part for part in (self.title, f"({self.unit})" if self.unit else "", self.arrow) if part)


@dataclass(frozen=True)
class Line:
    """One row of cells by column key; ``best`` are the metric columns in which no arm is better."""

    arm: str
    kind: Literal["baseline", "teacher", "arm"]
    cells: dict[str, Cell]
    best: frozenset[str]


@dataclass(frozen=True)
class Content:
    """The table."""

    columns: list[Column]
    lines: list[Line]

    def column(self, key: str) -> Column:
        """Return a column by key."""
        return next(column for column in self.columns if column.key == key)


def pivot(comparison: Comparison, registry: Registry | None = None) -> Content:
    """Turn a comparison into cells.

    Args:
        comparison: what was found.
        host: where metrics say their unit and direction; the default host unless given.
    """
    known = {column: judged(metric, registry) for column, metric in comparison.columns.items()}
    digits = {column: metric_decimals(comparison, column) for column in comparison.columns}
    best = {column: _best(comparison.rows, column, known[column].higher_is_better) for column in comparison.columns}
    student = roles(comparison).student
    columns = _columns(comparison, known, student)
    lines = []
    for row in comparison.rows:
        cells = _costs(row)
        cells |= {name: _estimate(row.metrics.get(name), digits[name]) for name in comparison.columns}
        if student is not None:
            first = next(iter(comparison.columns))
            cells["closure"] = _gap_closed(row.gap_closed)
            cells["difference"] = difference_cell(row, student, digits[first])
        cells["rank"] = Cell(str(row.rank), value=row.rank) if row.rank is not None else Cell(numbers.NONE)
        leading = frozenset(column for column, arms in best.items() if row.arm in arms)
        lines.append(Line(row.arm, row.kind, {column.key: cells[column.key] for column in columns}, leading))
    return Content(columns, lines)


def _columns(comparison: Comparison, known: dict[str, Judged], student: str | None) -> list[Column]:
    columns = [
        Column("arm", "arm", part="arm"),
        Column("params", "params", part="cost"),
        Column("macs", "MACs", part="cost"),
    ]
    if any(row.costs is not None and row.costs.latency_ms is not None for row in comparison.rows):
        columns.append(Column("latency_ms", "CPU", "ms", part="cost"))
    columns += [Column(name, name, known[name].unit, known[name].arrow) for name in comparison.columns]
    if student is not None:
        unit = known[next(iter(comparison.columns))].unit
        if any(row.gap_closed is not None for row in comparison.rows):
            columns.append(Column("closure", "closure", "%", part="closure"))
        columns.append(Column("difference", f"Δ {student}", unit, part="difference"))
    columns.append(Column("rank", "rank", part="rank"))
    return columns


def _costs(row: Row) -> dict[str, Cell]:
    costs = row.costs
    cells = {"arm": Cell(row.arm), **dict.fromkeys(("params", "macs", "latency_ms"), Cell(numbers.NONE))}
    if costs is not None:
        cells["params"] = Cell(numbers.count(costs.params), value=costs.params)
        cells["macs"] = Cell(numbers.count(costs.macs), value=costs.macs)
        cells["latency_ms"] = Cell(numbers.milliseconds(costs.latency_ms), value=costs.latency_ms)
    return cells


def metric_decimals(comparison: Comparison, column: str) -> int:
    """Return how many decimals a metric's column has."""
    return numbers.decimals(row.metrics[column].mean for row in comparison.rows if column in row.metrics)


def _estimate(estimate: Estimate | None, digits: int) -> Cell:
    if estimate is None or not math.isfinite(estimate.mean):
        return Cell(numbers.NONE)
    interval = numbers.span(estimate.low, estimate.high, digits)
    return Cell(numbers.fixed(estimate.mean, digits), interval, value=estimate.mean)


def _gap_closed(gap_closed: GapClosed | None) -> Cell:
    if gap_closed is None:
        return Cell(numbers.NONE)
    if gap_closed.gap_too_small or not math.isfinite(gap_closed.mean):
        return Cell("gap too small")
    interval = numbers.span(100 * gap_closed.low, 100 * gap_closed.high, 0)
    return Cell(numbers.percent(gap_closed.mean), interval, value=gap_closed.mean)


def difference_cell(row: Row, reference: str, digits: int) -> Cell:
    """Return arm minus reference, a digit finer than the metric, with its interval and corrected p-value."""
    difference: Difference | None = row.differences.get(reference)
    if difference is None or not math.isfinite(difference.mean):
        return Cell(numbers.NONE)
    interval = numbers.span(difference.low, difference.high, digits + 1, signed=True)
    p = row.corrected.get(reference)
    remark = f"p {numbers.p_value(p)}" if p is not None and math.isfinite(p) else ""
    return Cell(numbers.fixed(difference.mean, digits + 1, signed=True), interval, remark, difference.mean)


def _best(rows: Sequence[Row], column: str, upward: bool | None) -> set[str]:
    """Return the arms (without teacher and baselines) with the best mean."""
    means = {row.arm: row.metrics[column].mean for row in rows if row.kind == "arm" and column in row.metrics}
    means = {arm: mean for arm, mean in means.items() if math.isfinite(mean)}
    if upward is None or len(means) < 2:
        return set()
    top = max(means.values()) if upward else min(means.values())
    return {arm for arm, mean in means.items() if mean == top}
