"""Result of a search: sizes with costs and scores, the Pareto front, and the smallest student near the teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from i2ikd.evaluation.records import pivot
from i2ikd.evaluation.statistics import Difference, Estimate, paired
from i2ikd.experiment.size_costs import Budget, SizeCost
from i2ikd.experiment.summary import Comparison
from i2ikd.experiment.sweep import SizedArms

_TEACHER = "teacher"


@dataclass(frozen=True)
class Candidate:
    """A trained arm of one size.

    Attributes:
        arm: its name.
        size: name of its size.
        control: name of the control of its size; empty for the control itself.
        cost: of its size.
        score: in the first column.
        to_teacher: gain over the teacher, negative below it; ``None`` without a score of both.
        to_control: gain over the control of the size.
        on_front: whether no other arm is at least as good for at most its cost.
    """

    arm: str
    size: str
    control: str
    cost: SizeCost
    score: Estimate
    to_teacher: Difference | None
    to_control: Difference | None
    on_front: bool

    def as_json(self) -> dict[str, Any]:
        """Return the candidate as JSON values."""
        return {
            "arm": self.arm,
            "size": self.size,
            "control": self.control or None,
            **self.cost.as_json(),
            "score": self.score.as_json(),
            "to_teacher": None if self.to_teacher is None else self.to_teacher.as_json(),
            "to_control": None if self.to_control is None else self.to_control.as_json(),
            "on_front": self.on_front,
        }


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        name: of the experiment.
        column: the first column of the table.
        unit: of its metric.
        runtime: in which latency and bytes were measured.
        budget: limits of the costs.
        within: loss to the teacher that is accepted, in the unit of the metric.
        teacher: score of the teacher.
        candidates: trained arms, by cost.
        higher_is_better: whether larger scores are better.
        smallest: arm of the least cost within ``within`` of the teacher; ``None``: there is none.
        over_budget: sizes that were not trained, with their costs and the limits that they exceed.
        not_chosen: names of sizes within the budget that were not trained.
    """

    name: str
    column: str
    unit: str
    runtime: str
    budget: Budget
    within: float
    teacher: Estimate | None
    candidates: Sequence[Candidate]
    higher_is_better: bool = True
    smallest: str | None = None
    over_budget: Sequence[tuple[str, SizeCost, Sequence[str]]] = ()
    not_chosen: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return the content of ``search.json``."""
        return {
            "name": self.name,
            "column": self.column,
            "unit": self.unit,
            "runtime": self.runtime,
            "budget": asdict(self.budget),
            "sorted_by": self.budget.quantity,
            "within": self.within,
            "teacher": None if self.teacher is None else self.teacher.as_json(),
            "smallest": self.smallest,
            "candidates": [candidate.as_json() for candidate in self.candidates],
            "over_budget": [
                {"size": size, **cost.as_json(), "exceeds": list(limits)} for size, cost, limits in self.over_budget
            ],
            "not_chosen": list(self.not_chosen),
        }

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        near = f"within {self.within:g} {self.unit}".rstrip()
        if self.smallest is None:
            return f"no student within the budget is {near} of the teacher in {self.column}"
        found = next(candidate for candidate in self.candidates if candidate.arm == self.smallest)
        quantity = self.budget.quantity
        return (
            f"smallest student {near} of the teacher in {self.column}: {found.arm}, "
            f"{quantity} {getattr(found.cost, quantity):,.4g}"
        )


def conclude_search(
    comparison: Comparison,
    groups: Sequence[SizedArms],
    costs: Mapping[str, SizeCost],
    budget: Budget,
    runtime: str,
    within: float,
    unit: str = "",
) -> SearchResult:
    """Return the result of a search, without the sizes that were not trained.

    Args:
        comparison: of the arms of all trained sizes.
        groups: the trained sizes.
        costs: by name of the size.
        budget: its quantity orders the candidates.
        runtime: for the result.
        within: accepted loss to the teacher.
        unit: of the first column.
    """
    column = next(iter(comparison.columns))
    arms, subjects = pivot(comparison.records, comparison.columns[column])
    sign = 1.0 if comparison.higher_is_better else -1.0

    def gain(arm: str, reference: str) -> Difference | None:
        if arm not in arms or reference not in arms or not reference:
            return None
        return paired(sign * arms[arm], sign * arms[reference], subjects)

    rows = {row.arm: row for row in comparison.rows}
    entries = []
    for group in groups:
        for arm in group.names:
            control = group.control if arm != group.control else ""
            score = rows[arm].metrics[column]
            entries.append((arm, group.size.name, control, costs[group.size.name], score))
    quantity = budget.quantity
    entries.sort(key=lambda entry: (getattr(entry[3], quantity), -sign * entry[4].mean))
    candidates = []
    best = -math.inf
    for arm, size, control, cost, score in entries:
        on_front = sign * score.mean > best
        best = max(best, sign * score.mean) if on_front else best
        candidates.append(Candidate(arm, size, control, cost, score, gain(arm, _TEACHER), gain(arm, control), on_front))
    near = [one.arm for one in candidates if one.to_teacher is not None and one.to_teacher.mean >= -within]
    teacher = rows[_TEACHER].metrics[column] if _TEACHER in rows else None
    name = comparison.name
    return SearchResult(
        name,
        column,
        unit,
        runtime,
        budget,
        within,
        teacher,
        candidates,
        higher_is_better=comparison.higher_is_better,
        smallest=near[0] if near else None,
    )
