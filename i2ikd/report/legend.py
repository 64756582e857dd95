"""What every column of a report means, in words: metrics with scope and peak, intervals, closure, control, ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison
from i2ikd.registry import Registry, default_registry


@dataclass(frozen=True)
class Judged:
    """What a report says of a metric; ``higher_is_better`` is ``None`` where the metric is not installed."""

    name: str
    summary: str = ""
    unit: str = ""
    higher_is_better: bool | None = None

    @property
    def arrow(self) -> Literal["", "↑", "↓"]:
        """Where better is."""
        if self.higher_is_better is None:
            return ""
        return "↑" if self.higher_is_better else "↓"


def judged(metric: str, registry: Registry | None = None) -> Judged:
    """Look a metric up; one that is not there any more is known by its name alone."""
    try:
        component = (registry or default_registry()).get("metric", metric)
        target: Any = component.resolve()
    except UserError:
        return Judged(metric)
    upward = getattr(target, "higher_is_better", None)
    return Judged(metric, component.summary, str(getattr(target, "unit", "")), upward)


@dataclass(frozen=True)
class Roles:
    """Which arms the others are measured against."""

    student: str | None
    control: str | None


def roles(comparison: Comparison) -> Roles:
    """Return the first reference, which differences are taken to, and the equal-budget control."""
    references = comparison.references
    student = references[0] if references else None
    control = next((name for name in references[1:] if name != "kd-mri"), None)
    return Roles(student, control if control is not None or student != "control" else student)


def metadata_line(comparison: Comparison) -> str:
    """Say in one line what was measured on."""
    return " · ".join(f"{name} {value}" for name, value in comparison.metadata.items())


def legend(comparison: Comparison, registry: Registry | None = None) -> list[tuple[str, str]]:
    """Return (term, explanation) of everything in the table."""
    first = next(iter(comparison.columns))
    found = roles(comparison)
    entries = [(column, _metric(judged(metric, registry))) for column, metric in comparison.columns.items()]
    entries.append(("[low, high]", _interval(comparison)))
    if found.student is not None:
        if any(row.gap_closed is not None for row in comparison.rows):
            entries.append(("closure", _gap_closed(first, found.student)))
        entries.append(
            (
                f"Δ {found.student}",
                f"paired difference in {first} to the arm {found.student!r}; p: Wilcoxon signed-rank over volumes, "
                f"Holm-corrected for the number of arms{_least_p(comparison)}",
            )
        )
    if found.control is not None:
        text = "the equal-budget control: no teacher, but as many optimiser steps and restarts as a distilled arm"
        entries.append((found.control, text))
    ranked = f"1 + the number of arms whose whole interval in {first} is better; equal ranks: intervals overlap"
    entries.append(("rank", f"{ranked}; bold: the best mean"))
    entries.append(("MACs, CPU", "multiply-adds and milliseconds for one slice; latency: median of interleaved rounds"))
    return entries


def _metric(metric: Judged) -> str:
    better = {True: "higher is better", False: "lower is better", None: ""}[metric.higher_is_better]
    return "; ".join(part for part in (metric.name, metric.summary, better) if part)


def _interval(comparison: Comparison) -> str:
    seeds = {record.seed for record in comparison.records if record.seed >= 0}
    text = "95 % bootstrap interval over volumes and seeds"
    if len(seeds) == 1:
        text += "; one seed: how much another training would differ is not in it"
    return text


def _gap_closed(first: str, student: str) -> str:
    return (
        f"share of the gap in {first} between {student!r} (0 %) and the teacher (100 %) that an arm closes; "
        "gap too small: below twice its standard deviation over seeds"
    )


def _least_p(comparison: Comparison) -> str:
    """Few volumes cannot give a small p, whatever the arms do: say so."""
    volumes = len({record.volume for record in comparison.records})
    if not 0 < volumes <= 8:
        return ""
    return f"; {volumes} volumes cannot give a p below {2 ** (1 - volumes):.3g} before correction"
