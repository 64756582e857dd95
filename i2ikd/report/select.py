"""Filter and sort the arms of a comparison; statistics remain those of all arms."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from i2ikd.errors import UserError, nearest
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.registry import Registry
from i2ikd.report.cost_columns import cost_cells, cost_columns
from i2ikd.report.legend import describe_metric, reference_arms

_COSTS = ("params", "macs", "bytes", "latency_ms")
"""Costs of every network; those of delivered files are known from the table."""
_LARGE_FIRST = ("gap_closed", "speedup")


def only(comparison: Comparison, arms: Sequence[str]) -> Comparison:
    """Return the comparison with the rows of baselines, teacher and the given arms, and the conclusions on them.

    Ranks and Holm-corrected p-values remain those among all arms.

    Args:
        comparison: the results to filter.
        arms: names of the arms to keep.

    Raises:
        UserError: ``arms`` is empty or contains an unknown name.
    """
    known = [row.arm for row in comparison.rows if row.kind == "arm"]
    for arm in arms:
        if arm not in known:
            raise UserError(f"the comparison {comparison.name!r} has no arm {arm!r}; {nearest(arm, known)}")
    if not arms:
        raise UserError(f"--arms names no arm; known: {', '.join(known)}")
    rows = [row for row in comparison.rows if row.kind != "arm" or row.arm in arms]
    shown = {"", *(row.arm for row in rows)}
    conclusions = [conclusion for conclusion in comparison.conclusions if conclusion.arm in shown]
    return dataclasses.replace(comparison, rows=rows, conclusions=conclusions)


def sort_keys(comparison: Comparison) -> list[str]:
    """Return the columns that ``sorted_by`` accepts.

    Args:
        comparison: the results to sort.
    """
    return [
        "arm",
        *_costs(comparison),
        *comparison.columns,
        "gap_closed",
        *reference_arms(comparison).by_column(),
        "rank",
    ]


def _costs(comparison: Comparison) -> list[str]:
    shown = [column.key for column in cost_columns(comparison) if column.key != "runtime"]
    return list(dict.fromkeys([*_COSTS, *shown]))


def _key(comparison: Comparison, column: str) -> str:
    """Return the key of a column that is named by its key or its heading."""
    known = sort_keys(comparison)
    headings = {one.title.lower(): one.key for one in cost_columns(comparison) if one.key in known}
    key = column if column in known else headings.get(column.lower(), column)
    if key not in known:
        raise UserError(f"cannot sort by {column!r}: unknown column; {nearest(column, known)}")
    return key


def sorted_by(comparison: Comparison, column: str, registry: Registry | None = None) -> Comparison:
    """Return the comparison with its arms sorted, best first; baselines and teacher remain on top.

    Args:
        comparison: the results to sort.
        column: one of ``sort_keys``, or the heading of a cost in the table.
        registry: source of the metrics' directions; ``default_registry()`` when ``None``.

    Raises:
        UserError: there is no such column.
    """
    column = _key(comparison, column)
    fixed = [row for row in comparison.rows if row.kind != "arm"]
    arms = [row for row in comparison.rows if row.kind == "arm"]
    if column == "arm":
        return dataclasses.replace(comparison, rows=[*fixed, *sorted(arms, key=lambda row: row.arm)])
    metric = column if column in comparison.columns else next(iter(comparison.columns))
    upward = describe_metric(comparison.columns[metric], registry).higher_is_better is not False
    small_first = column == "rank" or column in _costs(comparison)
    large_first = column in _LARGE_FIRST or (not small_first and upward)
    references, teacher = reference_arms(comparison).by_column(), comparison.row("teacher")

    def key(row: Row) -> tuple[bool, float]:
        value = _value(row, column, references, teacher)
        return math.isnan(value), -value if large_first else value

    return dataclasses.replace(comparison, rows=[*fixed, *sorted(arms, key=key)])


def _value(row: Row, column: str, references: dict[str, str], teacher: Row | None) -> float:
    """Return the sort value of a row; NaN, which is sorted last, where it is undefined."""
    value: float | None
    costs = cost_cells(row, teacher, ())
    if column in costs:
        value = costs[column].value
    elif column == "gap_closed":
        value = row.gap_closed.mean if row.gap_closed else None
    elif column in references:
        difference = row.differences.get(references[column])
        value = difference.mean if difference else None
    elif column == "rank":
        value = row.rank
    else:
        value = row.metrics[column].mean if column in row.metrics else None
    return math.nan if value is None else float(value)
