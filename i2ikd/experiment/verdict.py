"""Verdict of a comparison in plain words: the best arm, whether the teacher is worth copying, and what to run next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from i2ikd.evaluation.records import Tables, pivot
from i2ikd.evaluation.statistics import Difference, paired
from i2ikd.experiment.conclusions import amount, conclusions, gain_of, size_over
from i2ikd.experiment.controls import NO_CONTROLS, Controls
from i2ikd.experiment.summary import Comparison, Conclusion, Row

_TEACHER = "teacher"
_SEEDS = 3
"""Seeds from which on an interval includes the variation between trainings."""
_SAME_SIZE = 1.01
"""A network with more parameters than this times those of the control is no student of its size."""


def verdict(
    comparison: Comparison, control: str, student: str = "", unit: str = "", controls: Controls = NO_CONTROLS
) -> list[Conclusion]:
    """Return the verdict: one sentence, the conclusions on teacher and arms, and what to run next.

    The sentence names the best arm that has a teacher and is not larger than the control: a larger network, such as a
    teacher without levers in the table for its row, is not what a student competes with, and an arm without a teacher
    is a control itself.

    Args:
        comparison: with differences to the control.
        control: name of the control's arm.
        student: name of the plain student's arm.
        unit: of the first column; empty for a dimensionless metric.
        controls: what the experiment states on its controls.

    Returns:
        Nothing where there is no arm besides student and control.
    """
    arms = [row for row in comparison.rows if row.kind == "arm" and row.arm not in (student, control)]
    if not arms:
        return []
    found = conclusions(comparison, control, student, unit, controls)
    column = next(iter(comparison.columns))
    quantity = f" {unit} in {column}" if unit else f" in {column}"
    reference = comparison.row(control)
    if reference is None or math.isnan(reference.metrics[column].mean):
        text = (
            f"warning: there is no control {control!r} with a score, so that nothing shows what the teacher adds; add "
            "an arm with recipe = 'student' and the epochs of the longest arm"
        )
        return [Conclusion(text, warning=True)]
    values = pivot(comparison.records, comparison.columns[column])
    worthless = _worthless(comparison, values, student, quantity) if found and not _warns(found) else None
    if worthless is not None:
        found.insert(0, worthless)
    compared = [row for row in arms if control in row.differences]
    larger = [row.arm for row in compared if size_over(row, reference) > _SAME_SIZE]
    small = [row for row in compared if row.arm not in larger] or compared
    students = [row for row in small if row.arm not in controls.without_teacher] or small
    head = _headline(students, control, quantity, comparison.higher_is_better, copied=not _warns(found))
    if larger and len(small) < len(compared):
        head = replace(head, text=f"{head.text}; not counted, as larger than {control}: {', '.join(larger)}")
    stricter = _stricter([row for row in small if row not in students], control, quantity, comparison.higher_is_better)
    follows = _next(comparison, students, control, copied=not _warns(found))
    return [head, *stricter, *_untrained(comparison, values), *found, Conclusion(f"next: {follows}")]


def _warns(found: Sequence[Conclusion]) -> bool:
    """Return whether the teacher is not worth copying."""
    return any(conclusion.warning and conclusion.arm == _TEACHER for conclusion in found)


def _headline(compared: Sequence[Row], control: str, quantity: str, upward: bool, copied: bool) -> Conclusion:
    """Return the first sentence."""
    teacher = "" if copied else "; the teacher is not worth copying"
    gains = {row.arm: gain_of(row.differences[control], upward) for row in compared}
    defined = {arm: one for arm, one in gains.items() if not math.isnan(one.mean)}
    if not defined:
        return Conclusion(f"verdict: no arm has a score to compare with {control}{teacher}", warning=True)
    best = max(defined, key=lambda arm: defined[arm].mean)
    winners = [arm for arm, one in defined.items() if one.low > 0]
    if winners:
        first = max(winners, key=lambda arm: defined[arm].mean)
        several = f"; so do {len(winners) - 1} more of {len(defined)} arms" if len(winners) > 1 else ""
        return Conclusion(f"verdict: {first} beats {control} by {amount(defined[first])}{quantity}{several}{teacher}")
    if all(math.isnan(one.low) for one in defined.values()):
        sign = "above" if defined[best].mean > 0 else "not above"
        return Conclusion(f"verdict: undecided, without intervals; {best} is {sign} {control} in the mean{teacher}")
    difference = f"{amount(defined[best], signed=True)}{quantity}"
    if len(defined) == 1:
        return Conclusion(f"verdict: {best} does not beat {control}: {difference}{teacher}")
    return Conclusion(
        f"verdict: none of {len(defined)} arms beats {control}; the largest difference is {difference}, of {best}"
        f"{teacher}"
    )


def _stricter(alone: Sequence[Row], control: str, quantity: str, upward: bool) -> list[Conclusion]:
    """Return a warning if an arm without a teacher is better than the control."""
    gains = {row.arm: gain_of(row.differences[control], upward) for row in alone}
    better = [arm for arm, gain in gains.items() if gain.low > 0]
    if not better:
        return []
    best = max(better, key=lambda arm: gains[arm].mean)
    text = (
        f"warning: {best}, which has no teacher, is better than {control} by {amount(gains[best])}{quantity}; compare "
        f"with the better control (-o comparison.control={best}), or what a teacher adds is overstated"
    )
    return [Conclusion(text, best, warning=True)]


def _worthless(comparison: Comparison, values: Tables, student: str, quantity: str) -> Conclusion | None:
    """Return a warning if the teacher is not above the best baseline or the plain student."""
    best = _best_baseline(comparison, values)
    for reference in (best, student):
        difference = _difference(values, _TEACHER, reference)
        if difference is not None and not _is_above(gain_of(difference, comparison.higher_is_better)):
            return Conclusion(
                f"warning: the teacher is not clearly better than {reference}: {amount(difference, signed=True)}"
                f"{quantity}; it is not worth copying: train it longer, or make it larger",
                _TEACHER,
                warning=True,
            )
    return None


def _untrained(comparison: Comparison, values: Tables) -> list[Conclusion]:
    """Return a warning if arms are not above the best baseline: such a training has failed."""
    best = _best_baseline(comparison, values)
    arms = [row.arm for row in comparison.rows if row.kind == "arm"]
    differences = {arm: found for arm in arms if best and (found := _difference(values, arm, best)) is not None}
    failed = [arm for arm, found in differences.items() if not _is_above(gain_of(found, comparison.higher_is_better))]
    if not failed:
        return []
    text = (
        f"warning: not clearly better than {best}, which needs no training: {', '.join(failed)}; see their losses in "
        "the report: where they are flat, lower the learning rate (-o training.lr=), or else train longer"
    )
    return [Conclusion(text, failed[0] if len(failed) == 1 else "", warning=True)]


def _best_baseline(comparison: Comparison, values: Tables) -> str:
    """Return the best row that needs no training; empty without one."""
    sign = 1 if comparison.higher_is_better else -1
    means = {
        row.arm: sign * float(np.nanmean(values.arms[row.arm]))
        for row in comparison.rows
        if row.kind == "baseline" and row.arm in values.arms and not np.isnan(values.arms[row.arm]).all()
    }
    return max(means, key=lambda name: means[name], default="")


def _difference(values: Tables, arm: str, reference: str) -> Difference | None:
    """Return arm minus reference; ``None`` without a score that both have."""
    own, others = values.arms.get(arm), values.arms.get(reference)
    if own is None or others is None or np.isnan(own - others).all():
        return None
    return paired(own, others, values.subjects)


def _is_above(found: Difference) -> bool:
    return found.low > 0 or (math.isnan(found.low) and found.mean > 0)


def _next(comparison: Comparison, compared: Sequence[Row], control: str, copied: bool) -> str:
    """Return what to run next."""
    seeds = len({record.seed for record in comparison.records if record.seed >= 0})
    gains = {row.arm: gain_of(row.differences[control], comparison.higher_is_better) for row in compared}
    winners = [arm for arm, one in gains.items() if one.low > 0]
    if not copied:
        return (
            "a better teacher (more epochs in [teacher.training], or more channels or cascades), as no method can add "
            "what the teacher lacks"
        )
    if seeds < _SEEDS:
        return f"the same command with --seeds {_SEEDS}, so that intervals include the variation between trainings"
    if winners:
        best = max(winners, key=lambda arm: gains[arm].mean)
        return f"deliver the student: i2ikd export DIR/students/{best}/seed{_seed(comparison)} --bundle bundle"
    open_ones = [arm for arm, one in gains.items() if one.low <= 0 <= one.high]
    if open_ones:
        return (
            f"more seeds, or more test subjects, as {len(open_ones)} of {len(gains)} intervals include 0; or more "
            "epochs, as distillation is compared where plain training has converged"
        )
    return "other methods (`i2ikd list recipes`, `i2ikd list distillers`), or a student further below the teacher"


def _seed(comparison: Comparison) -> int:
    """Return the least seed."""
    return min(record.seed for record in comparison.records if record.seed >= 0)
