"""Legend of a report: definitions of metrics, intervals, gap closed, control and ranks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison
from i2ikd.imported import IMPORT
from i2ikd.registry import Registry, default_registry
from i2ikd.report.cost_columns import has_files, thread_counts


@dataclass(frozen=True)
class MetricDescription:
    """Description of a metric in a report.

    Attributes:
        name: registered name, which contains scope and peak.
        summary: registered summary; empty where the metric is not installed.
        unit: physical unit; empty for a dimensionless metric.
        higher_is_better: direction; ``None`` where the metric is not installed.
    """

    name: str
    summary: str = ""
    unit: str = ""
    higher_is_better: bool | None = None

    @property
    def arrow(self) -> Literal["", "↑", "↓"]:
        """Arrow towards better values; empty where the direction is unknown."""
        if self.higher_is_better is None:
            return ""
        return "↑" if self.higher_is_better else "↓"


def describe_metric(metric: str, registry: Registry | None = None) -> MetricDescription:
    """Look up a metric's summary, unit and direction.

    The names of a finished comparison stand in a file, so an imported metric is looked up only if its module is loaded.

    Args:
        metric: registered name, or one of an imported metric.
        registry: where to look; ``default_registry()`` when ``None``.

    Returns:
        The description; name only where the metric is not installed (any more).
    """
    if metric.startswith(IMPORT) and metric.removeprefix(IMPORT).partition(":")[0] not in sys.modules:
        return MetricDescription(metric)
    try:
        component = (registry or default_registry()).get("metric", metric)
        target: Any = component.resolve()
    except UserError:
        return MetricDescription(metric)
    upward = getattr(target, "higher_is_better", None)
    return MetricDescription(metric, component.summary, str(getattr(target, "unit", "")), upward)


def import_metrics(comparison: Comparison) -> None:
    """Import the metrics of a comparison that are not registered, so that ``describe_metric`` finds them.

    Args:
        comparison: the results, in a file that the user trusts.

    Raises:
        UserError: a metric cannot be imported.
    """
    for metric in comparison.columns.values():
        if metric.startswith(IMPORT):
            default_registry().get("metric", metric).resolve()


@dataclass(frozen=True)
class ReferenceArms:
    """Arms that the others are compared with.

    Attributes:
        student: the arm that differences and the gap refer to; ``None`` without one.
        control: the equal-budget control; ``None`` without one.
    """

    student: str | None
    control: str | None

    def by_column(self) -> dict[str, str]:
        """Return the arms that the table has a column of differences to, by the column's key."""
        columns = {"difference": self.student, "difference_to_control": self.control}
        if self.control == self.student:
            del columns["difference_to_control"]
        return {key: arm for key, arm in columns.items() if arm is not None}


def reference_arms(comparison: Comparison) -> ReferenceArms:
    """Return the student and the equal-budget control of a comparison.

    Args:
        comparison: the results.
    """
    references = comparison.references
    student = comparison.student or next(iter(references), None)
    return ReferenceArms(student, comparison.control if comparison.control in references else None)


def metadata_line(comparison: Comparison) -> str:
    """Format the metadata (data, acceleration, seeds, training) in one line.

    Args:
        comparison: the results.
    """
    return " · ".join(f"{name} {value}" for name, value in comparison.metadata.items())


def legend(comparison: Comparison, registry: Registry | None = None) -> list[tuple[str, str]]:
    """Return the definitions of all columns and special arms of the table.

    Args:
        comparison: the results.
        registry: source of the metrics' summaries; ``default_registry()`` when ``None``.

    Returns:
        (term, definition) pairs, in display order.
    """
    first = next(iter(comparison.columns))
    references = reference_arms(comparison)
    entries = [(column, _metric(describe_metric(metric, registry))) for column, metric in comparison.columns.items()]
    entries.append(("[low, high]", _interval(comparison)))
    if references.student is not None and any(row.gap_closed is not None for row in comparison.rows):
        entries.append(("gap closed", _gap_closed(first, references.student)))
    shown = list(references.by_column().values())
    if shown:
        test = "p: Wilcoxon signed-rank over subjects, Holm-corrected for the number of arms"
        text = f"paired difference in {first} to {' and to '.join(map(repr, shown))}; {test}{_least_p(comparison)}"
        entries.append((", ".join(f"Δ {arm}" for arm in shown), text))
    if references.control is not None:
        text = "equal-budget control: no teacher, as many optimiser steps as a distilled arm"
        entries.append((references.control, text))
    rank = f"1 + the number of arms whose whole interval in {first} is better; equal ranks: intervals overlap"
    entries.append(("rank", f"{rank}; bold: best mean"))
    entries += _costs(comparison)
    return entries


def _costs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the definitions of the columns of costs."""
    text = "parameters; multiply-adds and CPU latency (ms) of one slice; latency: median of interleaved rounds"
    counts = thread_counts(comparison)
    if counts:
        text += f", {' or '.join(map(str, counts))} {'thread' if counts == [1] else 'threads'}"
    entries = [("params, MACs, CPU", text)]
    if has_files(comparison):
        entries.append(
            (
                "size, runtime",
                "of the delivered file, which is scored and timed in its runtime; of other rows, the weights in memory "
                "and torch in eager mode",
            )
        )
        if counts:
            first = f"{counts[0]} {'thread' if counts[0] == 1 else 'threads'}"
            text = "without the time that other programs had the CPU; median of the same rounds"
            entries.append(("CPU time", f"of all threads of a slice, {text}"))
            quantity = "CPU time" if counts[0] == 1 else "latency"
            entries.append(("speed-up", f"{quantity} of the teacher in eager mode over that of the row, {first}"))
    return entries


def _metric(metric: MetricDescription) -> str:
    """Return a metric's definition."""
    better = {True: "higher is better", False: "lower is better", None: ""}[metric.higher_is_better]
    return "; ".join(part for part in (metric.name, metric.summary, better) if part)


def _interval(comparison: Comparison) -> str:
    """Return the definition of the intervals, with a warning for a single seed."""
    seeds = {record.seed for record in comparison.records if record.seed >= 0}
    text = "95 % bootstrap interval over subjects and seeds"
    volumes = {record.whole for record in comparison.records}
    if len(volumes) > len({volume.subject for volume in volumes}):
        text += "; a subject is drawn with all of its volumes"
    if len(seeds) == 1:
        text += "; one seed: the interval does not include the variation between trainings"
    return text


def _gap_closed(first: str, student: str) -> str:
    """Return the definition of the share of the gap closed."""
    return (
        f"share of the gap in {first} between {student!r} (0 %) and the teacher (100 %) that an arm closes; "
        "gap too small: below twice its standard deviation over seeds"
    )


def _least_p(comparison: Comparison) -> str:
    """Return a note on the least p-value that few subjects permit: 2^(1 - n) for n subjects."""
    subjects = len({record.subject for record in comparison.records})
    if not 0 < subjects <= 8:
        return ""
    return f"; with {subjects} subjects p is at least {2 ** (1 - subjects):.3g} before correction"
