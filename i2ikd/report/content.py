"""Format-independent content of the comparison table, shared by the terminal, Markdown, LaTeX and HTML writers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.registry import Registry
from i2ikd.report import numbers
from i2ikd.report.cells import Cell, Column
from i2ikd.report.cost_columns import cost_cells, cost_columns
from i2ikd.report.legend import MetricDescription, describe_metric, reference_arms


@dataclass(frozen=True)
class Line:
    """One table row.

    Attributes:
        arm: name of the arm, the teacher or the baseline.
        kind: type of the row.
        cells: the row's cells by column key.
        best: keys of the metric columns in which the arm has the best mean of all arms.
    """

    arm: str
    kind: Literal["baseline", "teacher", "arm"]
    cells: dict[str, Cell]
    best: frozenset[str]


@dataclass(frozen=True)
class Content:
    """Columns and rows of a comparison table.

    Attributes:
        columns: in display order, the arm's name first.
        lines: baselines, teacher, arms.
    """

    columns: list[Column]
    lines: list[Line]

    def column(self, key: str) -> Column:
        """Return the column with the given key.

        Args:
            key: an existing column key.
        """
        return next(column for column in self.columns if column.key == key)


def table_content(comparison: Comparison, registry: Registry | None = None) -> Content:
    """Build the table content of a comparison.

    Args:
        comparison: the results to format.
        registry: source of each metric's unit and direction; ``default_registry()`` when ``None``.

    Returns:
        Columns and formatted cells; columns without any value (latency, gap closed, differences) are omitted.
    """
    descriptions = {column: describe_metric(metric, registry) for column, metric in comparison.columns.items()}
    digits = {column: metric_decimals(comparison, column) for column in comparison.columns}
    best = {
        column: _best(comparison.rows, column, descriptions[column].higher_is_better) for column in comparison.columns
    }
    references = reference_arms(comparison).by_column()
    columns = _columns(comparison, descriptions, references)
    lines, teacher = [], comparison.row("teacher")
    for row in comparison.rows:
        cells = {"arm": Cell(row.arm)} | cost_cells(row, teacher, columns)
        cells |= {name: _estimate(row.metrics.get(name), digits[name]) for name in comparison.columns}
        cells["gap_closed"] = _gap_closed(row.gap_closed)
        first = digits[next(iter(comparison.columns))]
        cells |= {key: difference_cell(row, arm, first) for key, arm in references.items()}
        cells["rank"] = Cell(str(row.rank), value=row.rank) if row.rank is not None else Cell(numbers.NONE)
        best_in = frozenset(column for column, arms in best.items() if row.arm in arms)
        lines.append(Line(row.arm, row.kind, {column.key: cells[column.key] for column in columns}, best_in))
    return Content(columns, lines)


def _columns(
    comparison: Comparison, descriptions: dict[str, MetricDescription], references: dict[str, str]
) -> list[Column]:
    """Return the table's columns in display order."""
    columns = [Column("arm", "arm", part="arm"), *cost_columns(comparison)]
    columns += [Column(name, name, descriptions[name].unit, descriptions[name].arrow) for name in comparison.columns]
    if any(row.gap_closed is not None for row in comparison.rows):
        columns.append(Column("gap_closed", "gap closed", "%", part="gap_closed"))
    unit = descriptions[next(iter(comparison.columns))].unit
    columns += [Column(key, f"Δ {arm}", unit, part="difference") for key, arm in references.items()]
    columns.append(Column("rank", "rank", part="rank"))
    return columns


def metric_decimals(comparison: Comparison, column: str) -> int:
    """Return the number of decimals of a metric's column.

    Args:
        comparison: the results.
        column: a key of ``comparison.columns``.

    Returns:
        Decimals that show 4 significant digits of the column's largest mean, from 2 to 8.
    """
    return numbers.decimals(row.metrics[column].mean for row in comparison.rows if column in row.metrics)


def _estimate(estimate: Estimate | None, digits: int) -> Cell:
    """Format a mean with its interval."""
    if estimate is None or not math.isfinite(estimate.mean):
        return Cell(numbers.NONE)
    interval = numbers.span(estimate.low, estimate.high, digits)
    return Cell(numbers.fixed(estimate.mean, digits), interval, value=estimate.mean)


def _gap_closed(gap_closed: GapClosed | None) -> Cell:
    """Format the share of the gap closed, in percent, with its interval."""
    if gap_closed is None:
        return Cell(numbers.NONE)
    if gap_closed.gap_too_small or not math.isfinite(gap_closed.mean):
        return Cell("gap too small")
    interval = numbers.span(100 * gap_closed.low, 100 * gap_closed.high, 0)
    return Cell(numbers.percent(gap_closed.mean), interval, value=gap_closed.mean)


def difference_cell(row: Row, reference: str, digits: int) -> Cell:
    """Format the paired difference of an arm to a reference, with its interval and Holm-corrected p-value.

    Args:
        row: the arm's results.
        reference: name of the reference arm.
        digits: decimals of the metric's column; the difference has one more.

    Returns:
        The cell of arm minus reference; ``numbers.NONE`` where no difference was computed.
    """
    difference: Difference | None = row.differences.get(reference)
    if difference is None or not math.isfinite(difference.mean):
        return Cell(numbers.NONE)
    interval = numbers.span(difference.low, difference.high, digits + 1, signed=True)
    p = row.corrected.get(reference)
    remark = f"p {numbers.p_value(p)}" if p is not None and math.isfinite(p) else ""
    return Cell(numbers.fixed(difference.mean, digits + 1, signed=True), interval, remark, difference.mean)


def _best(rows: Sequence[Row], column: str, upward: bool | None) -> set[str]:
    """Return the arms with the best mean of a column; teacher and baselines are excluded."""
    means = {row.arm: row.metrics[column].mean for row in rows if row.kind == "arm" and column in row.metrics}
    means = {arm: mean for arm, mean in means.items() if math.isfinite(mean)}
    if upward is None or len(means) < 2:
        return set()
    best = max(means.values()) if upward else min(means.values())
    return {arm for arm, mean in means.items() if mean == best}
