"""Overview of comparisons: differences and closed gaps of their common arms, and the means over comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, Tables, pivot
from i2ikd.evaluation.statistics import (
    Difference,
    Estimate,
    GapClosed,
    Values,
    gap_closed,
    mean_difference,
    mean_gap_closed,
    paired,
)
from i2ikd.experiment.summary import Comparison

_TEACHER = "teacher"


@dataclass(frozen=True)
class OverviewCell:
    """An arm in one comparison.

    Attributes:
        seeds: with which the arm was trained.
        value: its mean.
        differences: arm minus reference, by reference.
        gap_closed: share of the gap between student and teacher; ``None`` where one of the two is missing.
    """

    seeds: list[int]
    value: float
    differences: dict[str, Difference]
    gap_closed: GapClosed | None

    def as_json(self) -> dict[str, Any]:
        """Return the cell as JSON values."""
        return {
            "seeds": self.seeds,
            "value": self.value,
            "differences": {name: difference.as_json() for name, difference in self.differences.items()},
            "gap_closed": self.gap_closed and self.gap_closed.as_json(),
        }


@dataclass(frozen=True)
class OverviewMeans:
    """An arm's means over all comparisons; without those for which it, or the reference, is missing in a comparison.

    Attributes:
        differences: arm minus reference, by reference.
        gap_closed: share of the mean gap.
    """

    differences: dict[str, Estimate]
    gap_closed: Estimate | None

    def as_json(self) -> dict[str, Any]:
        """Return the means as JSON values."""
        return {
            "differences": {name: difference.as_json() for name, difference in self.differences.items()},
            "gap_closed": self.gap_closed and self.gap_closed.as_json(),
        }


@dataclass(frozen=True)
class Overview:
    """Several comparisons side by side.

    Attributes:
        column: name of the metric in the tables (``psnr``).
        metric: its registered name, with scope and peak.
        references: rows that every arm is compared with, such as plain student and control.
        comparisons: names, in order.
        cells: by arm and comparison.
        means: by arm.
    """

    column: str
    metric: str
    references: list[str]
    comparisons: list[str]
    cells: dict[str, dict[str, OverviewCell]] = field(default_factory=dict)
    means: dict[str, OverviewMeans] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the overview as JSON values."""
        return {
            "column": self.column,
            "metric": self.metric,
            "references": self.references,
            "comparisons": self.comparisons,
            "cells": {arm: {name: cell.as_json() for name, cell in cells.items()} for arm, cells in self.cells.items()},
            "means": {arm: means.as_json() for arm, means in self.means.items()},
        }


def make_overview(
    comparisons: Sequence[Comparison], arms: Sequence[str] | None = None, references: Sequence[str] | None = None
) -> Overview:
    """Compare the arms of comparisons with the student and the control, in the first column of their tables.

    Comparisons of one name are joined: they have other seeds of one experiment, trained on several machines.

    Args:
        comparisons: with the same metric in the first column, and the same names of student and control.
        arms: names of the arms, in order; ``None``: all, in the order of the comparisons.
        references: rows that the arms are compared with, baselines too; ``None``: student and control.

    Raises:
        UserError: the comparisons differ in metric, student or control; two of one name have a run in common; an arm
            or a reference is in none of them.
    """
    first = comparisons[0]
    column, metric = next(iter(first.columns.items()))
    for other in comparisons[1:]:
        _check_equal(first, other)
    student = first.student or "student"
    joined = _joined(comparisons)
    tables = {name: pivot(records, metric) for name, records in joined.items()}
    names = [row.arm for other in comparisons for row in other.rows if row.kind != "baseline"]
    known = list(dict.fromkeys(names))
    for arm in arms or ():
        if arm not in known:
            raise UserError(f"the arm {arm!r} is in none of the comparisons; they have: {', '.join(known)}")
    rows = list(dict.fromkeys(row.arm for other in comparisons for row in other.rows))
    for name in references or ():
        if name not in rows:
            raise UserError(f"the reference {name!r} is in none of the comparisons; they have: {', '.join(rows)}")
    references = list(dict.fromkeys(references or [student, first.control]))
    overview = Overview(column, metric, references, list(tables))
    for arm in arms or known:
        present = {name: table for name, table in tables.items() if _has_values(table, arm)}
        overview.cells[arm] = {
            name: _cell(table, arm, references, student, first.higher_is_better, _seeds(joined[name], arm))
            for name, table in present.items()
        }
        if len(present) == len(tables) > 1:
            overview.means[arm] = _means(list(tables.values()), arm, references, student, first.higher_is_better)
    return overview


def _check_equal(first: Comparison, other: Comparison) -> None:
    for what, one, two in (
        ("metric in the first column", next(iter(first.columns.values())), next(iter(other.columns.values()))),
        ("student", first.student, other.student),
        ("control", first.control, other.control),
    ):
        if one != two:
            raise UserError(
                f"{other.name}: expected the {what} {one!r}, as in {first.name}, got {two!r}; "
                "state comparisons of one kind"
            )


def _joined(comparisons: Sequence[Comparison]) -> dict[str, list[Record]]:
    """Return the records by name of the comparison; baselines, which train nothing, once."""
    joined: dict[str, dict[tuple[Any, ...], Record]] = {}
    for comparison in comparisons:
        known = joined.setdefault(comparison.name, {})
        before = {(record.arm, record.seed) for record in known.values()}
        for record in comparison.records:
            if record.seed != NO_SEED and (record.arm, record.seed) in before:
                raise UserError(
                    f"{comparison.name}: expected other seeds in each folder, got the arm {record.arm!r} with seed "
                    f"{record.seed} in two of them; leave one out"
                )
            known[record.arm, record.seed, record.whole, record.slice] = record
    return {name: list(records.values()) for name, records in joined.items()}


def _has_values(table: Tables, arm: str) -> bool:
    return arm in table.arms and not np.isnan(table.arms[arm]).all()


def _seeds(records: Sequence[Record], arm: str) -> list[int]:
    return sorted({record.seed for record in records if record.arm == arm})


def _cell(
    table: Tables, arm: str, references: Sequence[str], student: str, upward: bool, seeds: list[int]
) -> OverviewCell:
    arms, subjects = table
    differences = {
        name: paired(arms[arm], arms[name], subjects) for name in references if name != arm and _has_values(table, name)
    }
    closed = None
    if arm not in (student, _TEACHER) and _has_values(table, student) and _has_values(table, _TEACHER):
        closed = gap_closed(arms[arm], arms[student], arms[_TEACHER], subjects, upward)
    return OverviewCell(seeds, float(np.nanmean(arms[arm])), differences, closed)


def _means(tables: Sequence[Tables], arm: str, references: Sequence[str], student: str, upward: bool) -> OverviewMeans:
    def values(*arms: str) -> list[Values]:
        return [Values([table.arms[name] for name in arms], table.subjects) for table in tables]

    def everywhere(*arms: str) -> bool:
        return all(_has_values(table, name) for table in tables for name in arms)

    compared = [name for name in references if name != arm and everywhere(name)]
    closed = None
    if arm not in (student, _TEACHER) and everywhere(student, _TEACHER):
        closed = mean_gap_closed(values(arm, student, _TEACHER), upward)
    return OverviewMeans({name: mean_difference(values(arm, name)) for name in compared}, closed)
