"""Conclusions from a comparison: whether the teacher is above the control, and which arms beat the control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from i2ikd.evaluation.records import pivot
from i2ikd.evaluation.statistics import Difference, paired
from i2ikd.experiment.controls import NO_CONTROLS, Controls
from i2ikd.experiment.summary import Comparison, Conclusion, Row

_TEACHER = "teacher"
_TESTABLE = 6
"""Least number of subjects with which a two-sided signed-rank test can have p < 0.05: 2^(1 - n) for n subjects."""


def conclusions(
    comparison: Comparison, control: str, student: str = "", unit: str = "", controls: Controls = NO_CONTROLS
) -> list[Conclusion]:
    """Return conclusions on the teacher and on every arm that was compared with the control.

    An arm is better or worse than the control if the 95 % interval of the paired difference excludes 0. Differences
    are stated in the first column; "better" follows the direction of its metric.

    Args:
        comparison: with differences to the control.
        control: name of the control's arm.
        student: name of the plain student's arm, which is no method and has no line.
        unit: of the first column; empty for a dimensionless metric.
        controls: what the experiment states on its controls.

    Returns:
        The teacher first, then the arms in the order of the rows, then the limits of the evidence; nothing without a
        control that has a score.
    """
    column = next(iter(comparison.columns))
    reference = comparison.row(control)
    if reference is None or math.isnan(reference.metrics[column].mean):
        return []
    quantity = f" {unit} in {column}" if unit else f" in {column}"
    found = _on_teacher(comparison, control, quantity, controls.lacking)
    for row in comparison.rows:
        difference = row.differences.get(control)
        if row.arm != student and difference is not None and not math.isnan(difference.mean):
            line = _on_arm(row, difference, reference, quantity, comparison.higher_is_better)
            alone = row.arm in controls.without_teacher
            found.append(replace(line, text=f"{line.text}, without a teacher") if alone else line)
    return [*found, *_limits(comparison, reference, controls)] if found else []


def _on_teacher(comparison: Comparison, control: str, quantity: str, lacking: Sequence[str]) -> list[Conclusion]:
    """Return the conclusion on the teacher; none without a score that it shares with the control."""
    values = pivot(comparison.records, next(iter(comparison.columns.values())))
    teacher, reference = values.arms.get(_TEACHER), values.arms.get(control)
    if teacher is None or reference is None or np.isnan(teacher - reference).all():
        return []
    difference = paired(teacher, reference, values.subjects)
    gain = gain_of(difference, comparison.higher_is_better)
    if gain.low > 0 or (math.isnan(gain.low) and gain.mean > 0):
        return [Conclusion(f"the teacher is better than {control} by {amount(gain)}{quantity}", _TEACHER)]
    levers = f"set the levers of the control in [teacher], which lacks {', '.join(lacking)}; or " if lacking else ""
    remedy = f"a teacher that is not above the control teaches nothing: {levers}train it longer, or make it larger"
    if gain.high < 0 or (math.isnan(gain.low) and gain.mean < 0):
        text = f"the teacher is worse than {control} by {amount(_negated(gain))}{quantity}"
    else:
        text = f"the teacher is not clearly better than {control}: {amount(difference, signed=True)}{quantity}"
    return [Conclusion(f"warning: {text}; {remedy}", _TEACHER, warning=True)]


def _on_arm(row: Row, difference: Difference, reference: Row, quantity: str, upward: bool) -> Conclusion:
    """Return the conclusion on one arm; of a larger network with its size."""
    control = reference.arm
    gain, p = gain_of(difference, upward), row.corrected.get(control, math.nan)
    note = "" if math.isnan(p) else f" (p {'<0.001' if p < 0.001 else f'{p:.3f}'})"
    size = size_over(row, reference)
    note += f", with {size:.1f} times its parameters" if size >= 1.05 else ""
    if gain.low > 0:
        return Conclusion(f"{row.arm} is better than {control} by {amount(gain)}{quantity}{note}", row.arm)
    if gain.high < 0:
        return Conclusion(f"{row.arm} is worse than {control} by {amount(_negated(gain))}{quantity}{note}", row.arm)
    stated = f"{amount(difference, signed=True)}{quantity}"
    if math.isnan(gain.low):
        return Conclusion(f"{row.arm} minus {control}: {stated}, without an interval", row.arm)
    return Conclusion(f"{row.arm} and {control} are not distinguishable: {stated}{note}", row.arm)


def _limits(comparison: Comparison, control: Row, controls: Controls) -> list[Conclusion]:
    """Return what the intervals do not include, what the number of subjects does not permit, and what is not tuned."""
    limits, subjects = [], control.metrics[next(iter(comparison.columns))].n
    if len({record.seed for record in comparison.records if record.seed >= 0}) == 1:
        limits.append("one seed, so that no interval includes the variation between trainings")
    if subjects == 1:
        limits.append("one subject")
    elif subjects < _TESTABLE:
        limits.append(f"{subjects} subjects, so that p is at least {2 ** (1 - subjects):.3g}")
    if len(controls.rates) == 1 and any(_gains(row, control.arm, comparison) for row in comparison.rows):
        limits.append(f"one learning rate of {control.arm}, so that with a better one it may be as good")
    return [Conclusion(f"limits: {'; '.join(limits)}")] if limits else []


def _gains(row: Row, control: str, comparison: Comparison) -> bool:
    difference = row.differences.get(control)
    return difference is not None and gain_of(difference, comparison.higher_is_better).low > 0


def size_over(row: Row, reference: Row) -> float:
    """Return the parameters of a row over those of the reference; 1 where one of them has no network."""
    own, others = (one.costs.params if one.costs else None for one in (row, reference))
    return own / others if own and others else 1.0


def gain_of(difference: Difference, upward: bool) -> Difference:
    """Return by how much the arm is better than the reference; negative if it is worse.

    Args:
        difference: arm minus reference.
        upward: whether larger values are better.
    """
    return difference if upward else _negated(difference)


def _negated(difference: Difference) -> Difference:
    return Difference(-difference.mean, -difference.high, -difference.low, difference.p, difference.n)


def amount(difference: Difference, signed: bool = False) -> str:
    """Format mean and interval with three significant digits of the mean or of the interval's width.

    Args:
        difference: the difference.
        signed: whether positive numbers have a sign.
    """
    spread = difference.high - difference.low
    largest = max(abs(difference.mean), 0.0 if math.isnan(spread) else spread)
    digits = 2 - math.floor(math.log10(largest)) if largest > 0 else 3
    form = f"{'+' if signed else ''}.{min(max(digits, 0), 8)}f"
    if math.isnan(spread):
        return f"{difference.mean:{form}}"
    return f"{difference.mean:{form}} [{difference.low:{form}}, {difference.high:{form}}]"
