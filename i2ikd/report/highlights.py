"""What a reader wants to know first: the gap, what the student saves, the best arm, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from i2ikd.experiment.summary import Comparison, Row
from i2ikd.report import numbers
from i2ikd.report.content import metric_decimals
from i2ikd.report.legend import judged, roles


@dataclass(frozen=True)
class Highlight:
    """A number with what it is."""

    label: str
    value: str
    note: str = ""


def highlights(comparison: Comparison) -> list[Highlight]:
    """Return at most four highlights; those that cannot be told are left out."""
    teacher, student = comparison.row("teacher"), comparison.row(roles(comparison).student or "")
    found = [_gap(comparison, teacher, student), *_savings(teacher, student), _best(comparison)]
    return [highlight for highlight in found if highlight is not None]


def _gap(comparison: Comparison, teacher: Row | None, student: Row | None) -> Highlight | None:
    if teacher is None or student is None:
        return None
    first = next(iter(comparison.columns))
    ends, unit = (student.metrics[first].mean, teacher.metrics[first].mean), judged(comparison.columns[first]).unit
    if not all(math.isfinite(end) for end in ends):
        return None
    digits = metric_decimals(comparison, first)
    value = f"{numbers.fixed(ends[1] - ends[0], digits, signed=True)} {unit}".strip()
    note = f"{first} {numbers.fixed(ends[0], digits)} → {numbers.fixed(ends[1], digits)}"
    return Highlight(f"teacher over {student.arm}", value, note)


def _savings(teacher: Row | None, student: Row | None) -> list[Highlight]:
    if teacher is None or student is None or teacher.costs is None or student.costs is None:
        return []
    large, small = teacher.costs, student.costs
    found = []
    if large.params > 0:
        share = numbers.percent(small.params / large.params - 1)
        found.append(
            Highlight("parameters", f"{share} %", f"{numbers.count(large.params)} → {numbers.count(small.params)}")
        )
    if large.latency_ms and small.latency_ms:
        note = f"{numbers.milliseconds(large.latency_ms)} → {numbers.milliseconds(small.latency_ms)} ms a slice"
        found.append(Highlight("CPU speed", f"{large.latency_ms / small.latency_ms:.1f}×", note))
    return found


def _best(comparison: Comparison) -> Highlight | None:
    first = next(iter(comparison.columns))
    arms = [row for row in comparison.rows if row.kind == "arm" and math.isfinite(row.metrics[first].mean)]
    if len(arms) < 2:
        return None
    upward = judged(comparison.columns[first]).higher_is_better is not False
    best = (max if upward else min)(arms, key=lambda row: row.metrics[first].mean)
    tied = sum(row.rank == 1 for row in arms)
    note = f"{tied} of {len(arms)} arms share rank 1" if tied > 1 else "alone on rank 1"
    if best.gap_closed is not None and math.isfinite(best.gap_closed.mean) and not best.gap_closed.gap_too_small:
        note = f"closes {numbers.percent(best.gap_closed.mean)} % of the gap; " + note
    return Highlight(f"best mean {first}", best.arm, note)
