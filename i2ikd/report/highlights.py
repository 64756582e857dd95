"""Key figures of a comparison: teacher-student gap, savings in parameters and latency, best arm and its rank."""

from __future__ import annotations

import math
from dataclasses import dataclass

from i2ikd.experiment.summary import Comparison, Row
from i2ikd.report import numbers
from i2ikd.report.content import metric_decimals
from i2ikd.report.legend import describe_metric, reference_arms


@dataclass(frozen=True)
class Highlight:
    """One labelled key figure.

    Attributes:
        label: name of the quantity.
        value: formatted value with its unit.
        note: context of the value; may be empty.
    """

    label: str
    value: str
    note: str = ""


def highlights(comparison: Comparison) -> list[Highlight]:
    """Return the key figures of a comparison.

    Args:
        comparison: the results.

    Returns:
        At most four: gap, parameters, CPU speed, best arm; those whose values are undefined are omitted.
    """
    teacher, student = comparison.row("teacher"), comparison.row(reference_arms(comparison).student or "")
    candidates = [_gap(comparison, teacher, student), *_savings(teacher, student), _best(comparison)]
    return [highlight for highlight in candidates if highlight is not None]


def _gap(comparison: Comparison, teacher: Row | None, student: Row | None) -> Highlight | None:
    """Return the difference of the teacher's and the student's means of the first metric."""
    if teacher is None or student is None:
        return None
    first = next(iter(comparison.columns))
    ends, unit = (
        (student.metrics[first].mean, teacher.metrics[first].mean),
        describe_metric(comparison.columns[first]).unit,
    )
    if not all(math.isfinite(end) for end in ends):
        return None
    digits = metric_decimals(comparison, first)
    value = f"{numbers.fixed(ends[1] - ends[0], digits, signed=True)} {unit}".strip()
    note = f"{first} {numbers.fixed(ends[0], digits)} → {numbers.fixed(ends[1], digits)}"
    return Highlight(f"teacher over {student.arm}", value, note)


def _savings(teacher: Row | None, student: Row | None) -> list[Highlight]:
    """Return the student's relative parameters and its speed-up over the teacher."""
    if teacher is None or student is None or teacher.costs is None or student.costs is None:
        return []
    large, small = teacher.costs, student.costs
    savings = []
    if large.params > 0:
        share = numbers.percent(small.params / large.params - 1)
        savings.append(
            Highlight("parameters", f"{share} %", f"{numbers.count(large.params)} → {numbers.count(small.params)}")
        )
    if large.latency_ms and small.latency_ms:
        note = f"{numbers.milliseconds(large.latency_ms)} → {numbers.milliseconds(small.latency_ms)} ms per slice"
        savings.append(Highlight("CPU speed", f"{large.latency_ms / small.latency_ms:.1f}×", note))
    return savings


def _best(comparison: Comparison) -> Highlight | None:
    """Return the arm with the best mean of the first metric, with its rank and the share of the gap closed."""
    first = next(iter(comparison.columns))
    arms = [row for row in comparison.rows if row.kind == "arm" and math.isfinite(row.metrics[first].mean)]
    if len(arms) < 2:
        return None
    upward = describe_metric(comparison.columns[first]).higher_is_better is not False
    best = (max if upward else min)(arms, key=lambda row: row.metrics[first].mean)
    tied = sum(row.rank == 1 for row in arms)
    note = f"{tied} of {len(arms)} arms share rank 1" if tied > 1 else "no other arm on rank 1"
    if best.gap_closed is not None and math.isfinite(best.gap_closed.mean) and not best.gap_closed.gap_too_small:
        note = f"closes {numbers.percent(best.gap_closed.mean)} % of the gap; " + note
    return Highlight(f"best mean {first}", best.arm, note)
