"""Conclusions of a comparison as sentences: whether the teacher is above the control, and which arms are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from i2ikd.config import Arm, Network
from i2ikd.evaluation.statistics import Difference
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.summary import Comparison, Row

_SIZE_OPTIONS = frozenset({"depth", "channels", "cascades", "kernel", "width", "blocks"})


def missing_levers(graph: RunGraph, arms: Sequence[Arm]) -> list[str]:
    """Return a line per arm whose student has levers that its teacher lacks; known before training.

    A lever is a training transform, or an option that both networks have, that differs, and that is no size. A
    teacher that is not above the student's control teaches nothing, so it should have the same levers.
    """
    experiment = graph.context.experiment
    lines = []
    for arm in arms:
        if arm.of is not None or "teacher" not in graph.arm_run(arm, experiment.seeds[0]).inputs:
            continue
        teacher = experiment.teacher
        if arm.teacher is not None and arm.teacher != "teacher":
            teacher = experiment.student_of(experiment.arm(arm.teacher))
        lacking = _levers(experiment.student_of(arm), arm) - _levers(teacher, None)
        if lacking:
            lines.append(
                f"warning: arm {arm.name!r}: the student has {', '.join(sorted(lacking))}, its teacher has not; a "
                "teacher that is not above the student's control teaches nothing: give it the same levers"
            )
    return lines


def _levers(network: Network, arm: Arm | None) -> set[str]:
    transforms = [*network.transforms, *(arm.transforms if arm is not None else [])]
    switched = {f"{name} = true" for name, value in network.options.items() if value is True}
    return switched - {f"{name} = true" for name in _SIZE_OPTIONS} | {f"transform {t.name!r}" for t in transforms}


def conclusions(comparison: Comparison, control: str) -> list[str]:
    """Return one line on the teacher and one per arm that was compared with the control.

    Args:
        comparison: with differences to the control.
        control: name of the control's arm.
    """
    column = next(iter(comparison.columns))
    lines = [] if comparison.row(control) is None else _on_teacher(comparison, control, column)
    for row in comparison.rows:
        difference = row.differences.get(control)
        if difference is not None and not math.isnan(difference.mean):
            lines.append(f"{row.arm} {_relation(difference)} {control} by {_amount(difference)} in {column}")
    return lines


def _on_teacher(comparison: Comparison, control: str, column: str) -> list[str]:
    teacher, reference = comparison.row("teacher"), comparison.row(control)
    if teacher is None or reference is None:
        return []
    above = _mean(teacher, column) - _mean(reference, column)
    if not comparison.higher_is_better:
        above = -above
    if math.isnan(above):
        return []
    if above > 0:
        return [f"the teacher is {above:.3f} above {control} in {column}: there is something to distil"]
    return [
        f"warning: the teacher is {-above:.3f} below {control} in {column}: it teaches nothing; train it longer, make "
        "it larger, or give it the levers of the student (transforms, residual = true)"
    ]


def _mean(row: Row, column: str) -> float:
    return row.metrics[column].mean


def _relation(difference: Difference) -> str:
    if math.isnan(difference.low) or difference.low <= 0 <= difference.high:
        return "is not distinguishable from"
    return "is above" if difference.mean > 0 else "is below"


def _amount(difference: Difference) -> str:
    if math.isnan(difference.low):
        return f"{difference.mean:+.3f}"
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
