"""Results of a comparison: a row per arm with costs, metrics, closed gap and differences; conversion to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np

from i2ikd.evaluation.records import Record, Tables, pivot
from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed, gap_closed, holm, interval, paired, ranks
from i2ikd.experiment.costs import Costs

RowKind = Literal["baseline", "teacher", "arm"]


@dataclass
class Row:
    """Row of the table.

    Attributes:
        arm: name of the arm, baseline or teacher.
        kind: kind of the row.
        costs: of the network; ``None`` for baselines.
    """

    arm: str
    kind: RowKind
    costs: Costs | None
    metrics: dict[str, Estimate]
    """Estimates by column of the table (``psnr``, ...)."""
    gap_closed: GapClosed | None = None
    """Closed share of the gap between student and teacher in the first column; for arms only."""
    differences: dict[str, Difference] = field(default_factory=dict)
    """Arm minus reference in the first column, by reference (``student``, ``control``, ...)."""
    corrected: dict[str, float] = field(default_factory=dict)
    """p-values of the differences, Holm-corrected over the arms, by reference."""
    rank: int | None = None
    """Rank among the arms in the first column, from 1; ``None`` for other rows."""

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values, as in ``results.json``."""
        return {
            "arm": self.arm,
            "kind": self.kind,
            **(self.costs.as_json() if self.costs else dict.fromkeys(field.name for field in fields(Costs))),
            **{column: estimate.as_json() for column, estimate in self.metrics.items()},
            "gap_closed": self.gap_closed.as_json() if self.gap_closed else None,
            "differences": {
                name: {**difference.as_json(), "p_holm": self.corrected.get(name)}
                for name, difference in self.differences.items()
            },
            "rank": self.rank,
        }


@dataclass(frozen=True)
class Conclusion:
    """Sentence on the rows of a comparison.

    Attributes:
        text: the sentence, with its numbers.
        arm: row that it is about; empty if it is about all.
        warning: whether it limits what the comparison can show.
    """

    text: str
    arm: str = ""
    warning: bool = False


@dataclass
class Comparison:
    """Results of a comparison, from which tables, figures and reports are generated.

    Attributes:
        name: of the experiment.
        metadata: circumstances of the measurement: data, acceleration, size, device, seeds.
        columns: name of the metric by column, scope and peak included; the closed gap is computed from the first.
        rows: baselines, teacher, arms.
        records: scores of every arm, seed, subject, volume and slice.
        histories: rows of the training history by name of the run.
        references: arms to which differences are computed.
        student: the arm at which the closed gap is 0, if it is among the rows.
        higher_is_better: whether larger values of the first column are better.
        control: name of the equal-budget control, whether it is among the references or not.
        conclusions: sentences on the teacher, on the arms against the control, and on the limits of the evidence.
    """

    name: str
    metadata: dict[str, str]
    columns: dict[str, str]
    rows: list[Row]
    records: list[Record]
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    student: str | None = None
    higher_is_better: bool = True
    control: str = "control"
    conclusions: list[Conclusion] = field(default_factory=list)

    def row(self, arm: str) -> Row | None:
        """Return the row of an arm; ``None`` if there is none.

        Args:
            arm: name of the arm, of a baseline, or ``teacher``.
        """
        return next((row for row in self.rows if row.arm == arm), None)

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        return {
            "name": self.name,
            "metadata": self.metadata,
            "metrics": self.columns,
            "references": self.references,
            "student": self.student,
            "control": self.control,
            "higher_is_better": self.higher_is_better,
            "conclusions": [asdict(conclusion) for conclusion in self.conclusions],
            "rows": [row.as_json() for row in self.rows],
        }


def summarise(
    name: str,
    metadata: dict[str, str],
    columns: Mapping[str, str],
    records: Sequence[Record],
    kinds: Mapping[str, RowKind],
    costs: Mapping[str, Costs],
    references: Sequence[str],
    student: str,
    higher_is_better: Mapping[str, bool],
) -> Comparison:
    """Aggregate records into the rows of a comparison.

    An arm without any score in the first column has neither a closed gap nor differences nor a rank.

    Args:
        name: of the experiment.
        metadata: circumstances of the measurement.
        columns: metric name by column; the closed gap and differences are computed from the first.
        records: of all arms.
        kinds: of every row, in order.
        costs: of the rows that are networks, by arm.
        references: arms to which paired differences are computed; those without a score in the first column are
            left out.
        student: arm whose closed gap is 0 by definition.
        higher_is_better: by metric name.

    Returns:
        The comparison, without histories and conclusions.
    """
    tables = {column: pivot(records, metric) for column, metric in columns.items()}
    main = next(iter(columns))
    upward = higher_is_better[columns[main]]
    scored = {arm: table for arm, table in tables[main].arms.items() if not np.isnan(table).all()}
    values = Tables(scored, tables[main].subjects)
    present = [reference for reference in references if reference in values.arms]
    rows = []
    for arm, kind in kinds.items():
        scores = {column: interval(table.arms[arm], table.subjects) for column, table in tables.items()}
        row = Row(arm, kind, costs.get(arm), scores)
        if kind == "arm" and arm in values.arms:
            _relate(row, values, present, student, upward)
        rows.append(row)
    _correct(rows, present)
    rank_of = ranks({row.arm: row.metrics[main] for row in rows if row.kind == "arm"}, upward)
    for row in rows:
        row.rank = rank_of.get(row.arm)
    return Comparison(name, metadata, dict(columns), rows, list(records), references=present, higher_is_better=upward)


def _relate(row: Row, values: Tables, references: Sequence[str], student: str, upward: bool) -> None:
    """Set the closed gap and the differences of an arm's row."""
    arms, subjects = values
    if student in arms and "teacher" in arms and row.arm != student:
        row.gap_closed = gap_closed(arms[row.arm], arms[student], arms["teacher"], subjects, upward)
    for reference in references:
        if reference != row.arm:
            row.differences[reference] = paired(arms[row.arm], arms[reference], subjects)


def _correct(rows: Sequence[Row], references: Sequence[str]) -> None:
    """Correct each reference's p-values for the number of arms compared with it."""
    by_arm = {row.arm: row for row in rows}
    for reference in references:
        raw = {row.arm: row.differences[reference].p for row in rows if reference in row.differences}
        for arm, p in holm(raw).items():
            by_arm[arm].corrected[reference] = p
