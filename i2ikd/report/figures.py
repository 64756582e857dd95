"""Quality figures: metric against parameters, metric against latency, and paired differences to the student."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison, Row
from i2ikd.report import numbers
from i2ikd.report.legend import describe_metric, reference_arms
from i2ikd.report.style import INK, arm_tags, marker_styles, put_arm_legend, sheet, tag

_WIDE_RANGE = 30
"""Ratio of the largest to the smallest cost above which the axis is logarithmic."""

_CROWDED = 4
"""Number of arms of one cost above which their intervals, at one x, are faint."""


def quality_against_parameters(comparison: Comparison) -> Figure:
    """Plot the first metric with its 95 % interval against the number of parameters.

    Args:
        comparison: the results to draw.

    Returns:
        The figure, without background.

    Raises:
        UserError: no row has a parameter count and a finite mean.
    """
    return _scatter(comparison, lambda row: row.costs.params if row.costs else None, "parameters")


def quality_against_latency(comparison: Comparison) -> Figure:
    """Plot the first metric with its 95 % interval against the CPU latency of one slice (ms).

    Args:
        comparison: the results to draw.

    Returns:
        The figure, without background.

    Raises:
        UserError: no row has a latency and a finite mean.
    """
    return _scatter(
        comparison, lambda row: row.costs.latency_ms if row.costs else None, "CPU latency of one slice (ms)"
    )


def _scatter(comparison: Comparison, cost: Callable[[Row], float | None], label: str) -> Figure:
    """Plot the first metric of all rows against a cost, each at its own cost: rows of one cost share one x."""
    first = next(iter(comparison.columns))
    rows = [row for row in comparison.rows if cost(row) and math.isfinite(row.metrics[first].mean)]
    if not rows:
        raise UserError(f"no point to draw: no row has a value of {label}")
    figure, (axes,) = sheet(6.4, 4.4)
    costs = {row.arm: float(cost(row) or 0) for row in rows}
    equal = Counter(costs.values())
    logarithmic = max(costs.values()) > _WIDE_RANGE * min(costs.values())
    styles, tags = marker_styles(comparison), arm_tags(comparison)
    for row in rows:
        estimate, style = row.metrics[first], styles[row.arm]
        ends = [[estimate.mean - estimate.low], [estimate.high - estimate.mean]]
        crowded = equal[costs[row.arm]] > _CROWDED
        drawn = axes.errorbar(
            [costs[row.arm]],
            [estimate.mean],
            yerr=ends if math.isfinite(estimate.low) else None,
            markersize=11 if row.kind == "teacher" else 6,
            linestyle="none",
            elinewidth=1.3,
            capsize=0 if crowded else 2.5,
            **style.points,
        )
        for interval in drawn[2] if crowded else ():
            interval.set_alpha(0.25)
        tag(drawn, tags.get(row.arm))
    if logarithmic:
        axes.set_xscale("log")
        axes.grid(False, which="minor")
    else:
        axes.set_xlim(left=0, right=1.12 * max(costs.values()))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: numbers.count(round(value)) if value >= 1000 else f"{value:g}")
    )
    axes.set_xlabel(label)
    axes.set_ylabel(_label(comparison, first))
    put_arm_legend(figure, comparison, [row.arm for row in rows])
    return figure


def differences_to_student(comparison: Comparison) -> Figure:
    """Plot the paired differences to the student with their 95 % intervals, sorted by mean.

    A dashed line marks the mean difference of the teacher.

    Args:
        comparison: the results to draw.

    Returns:
        The figure, without background.

    Raises:
        UserError: the comparison contains no differences to a student.
    """
    student = reference_arms(comparison).student
    rows = [row for row in comparison.rows if student in row.differences]
    if student is None or not rows:
        raise UserError("no difference to draw: no arm was compared with a student")
    first = next(iter(comparison.columns))
    upward = describe_metric(comparison.columns[first]).higher_is_better is not False
    rows.sort(key=lambda row: row.differences[student].mean, reverse=not upward)
    figure, (axes,) = sheet(6.4, 1.5 + (0.34 if len(rows) <= 20 else 0.22) * len(rows))
    styles, tags = marker_styles(comparison), arm_tags(comparison)
    for position, row in enumerate(rows):
        difference, style = row.differences[student], styles[row.arm]
        ends = [[difference.mean - difference.low], [difference.high - difference.mean]]
        drawn = axes.errorbar(
            [difference.mean],
            [position],
            xerr=ends if math.isfinite(difference.low) else None,
            markersize=6,
            linestyle="none",
            elinewidth=1.6,
            capsize=3,
            **style.points,
        )
        tag(drawn, tags.get(row.arm))
    axes.set_yticks(range(len(rows)), [row.arm for row in rows])
    for row, label in zip(rows, axes.get_yticklabels()):
        tag(label, tags.get(row.arm))
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(False, axis="y")
    axes.axvline(0, color=INK, linewidth=0.9)
    _mark_teacher(axes, comparison, first, student)
    unit = describe_metric(comparison.columns[first]).unit
    axes.set_xlabel(f"{first}: arm minus {student}" + (f" ({unit})" if unit else ""))
    return figure


def _mark_teacher(axes: Axes, comparison: Comparison, first: str, student: str) -> None:
    """Draw a dashed line at the teacher's mean difference to the student, and label both."""
    teacher, plain = comparison.row("teacher"), comparison.row(student)
    if teacher is None or plain is None:
        return
    difference = teacher.metrics[first].mean - plain.metrics[first].mean
    if math.isfinite(difference):
        axes.axvline(difference, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(
            difference,
            1.01,
            "teacher",
            transform=axes.get_xaxis_transform(),
            color=INK,
            fontsize=9,
            ha="center",
            va="bottom",
        )
        axes.text(
            0, 1.01, student, transform=axes.get_xaxis_transform(), color=INK, fontsize=9, ha="center", va="bottom"
        )


def _label(comparison: Comparison, column: str) -> str:
    """Return the axis label of a metric."""
    metric = describe_metric(comparison.columns[column])
    return f"{column} ({metric.unit})" if metric.unit else column
