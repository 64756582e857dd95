"""Plan of an experiment: which runs exist, which have to be trained and why, and in which groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.config import Arm
from i2ikd.engine.integrity import damaged_files
from i2ikd.engine.run import Run
from i2ikd.engine.store import differences
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph


@dataclass(frozen=True)
class Decision:
    """Whether one run is reused, continued or trained, and why."""

    run: Run
    action: Literal["reuse", "go on", "train"]
    reason: str

    def __str__(self) -> str:
        return f"{self.action:>6}  {self.run.name}" + (f"  ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class Plan:
    """Decisions about every run of a grid, and the groups in which missing runs are trained."""

    decisions: tuple[Decision, ...]
    groups: tuple[tuple[Run, ...], ...]
    """Runs of one group share one pass over the data."""


def decide(context: ExperimentContext, run: Run) -> Decision:
    """Look a run up in the store and compare its files with its manifest; where its settings changed, name which.

    Raises:
        UserError: the weights are damaged or another run's, and are not a copy of given weights.
    """
    if run.folder.finished:
        return _decide_finished(run)
    if run.folder.checkpoint.is_file():
        return Decision(run, "go on", "it was interrupted")
    if run.folder.stated():
        return Decision(run, "train", "its manifest states weights, and they are missing")
    before = context.store.named(run.name)
    if before is None or before.path.resolve() == run.folder.path.resolve():
        return Decision(run, "train", "")
    try:
        old = before.record().specification
    except UserError:
        return Decision(run, "train", "")
    changed = differences(old, run.specification.model_dump(mode="json"))
    return Decision(run, "train", "changed: " + "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else ""))


def _decide_finished(run: Run) -> Decision:
    """Decide about a run that has weights; those that were given can be copied again."""
    try:
        damaged = damaged_files(run.folder, run.specification.digest)
    except UserError as error:
        if run.specification.weights is None:
            raise UserError(f"{run.name}: {error}") from None
        return Decision(run, "train", f"its copy of the given weights is damaged: {error}")
    return Decision(run, "reuse", "; ".join(damaged))


def plan(
    graph: RunGraph, arms: Sequence[Arm], seeds: Sequence[int], *, lockstep: bool = False, teachers: bool = True
) -> Plan:
    """Find the missing runs of a grid and group them; runs of equal specification are one run.

    Args:
        graph: of the experiment's runs.
        arms: which; none: only the teachers.
        seeds: which.
        lockstep: missing arms of a seed that share their inputs form one group, instead of one each.
        teachers: plan the teacher of every seed, instead of those that missing arms need.
    """
    planner = _Planner(graph.context)
    for seed in seeds:
        runs = [graph.arm_run(arm, seed) for arm in arms]
        if teachers:
            for run in graph.teacher_runs(seed):
                planner.add(run)
        for run in runs:
            planner.add_missing_inputs(run)
        planner.add_all(runs, lockstep)
    return Plan(tuple(planner.decisions), tuple(planner.groups))


class _Planner:
    """Collects decisions and groups; every run once."""

    def __init__(self, context: ExperimentContext) -> None:
        self.decisions: list[Decision] = []
        self.groups: list[tuple[Run, ...]] = []
        self._context = context
        self._first: dict[str, Run] = {}
        self._decided: set[str] = set()

    def _decide(self, run: Run) -> bool:
        """Record the decision about a run; return whether it has to be trained."""
        if run.name in self._decided:
            return False
        self._decided.add(run.name)
        twin = self._first.setdefault(run.specification.digest, run)
        decision = decide(self._context, run)
        if twin is not run and decision.action != "reuse":
            decision = Decision(run, "reuse", f"it is the same run as {twin.name}")
        self.decisions.append(decision)
        return decision.action != "reuse"

    def add(self, run: Run) -> None:
        """Plan a run in a group of its own."""
        if self._decide(run):
            self.groups.append((run,))

    def add_missing_inputs(self, run: Run) -> None:
        """Plan the inputs of a run that is not finished, and the inputs of those."""
        if run.folder.finished:
            return
        for needed in run.required:
            if needed.name not in self._decided:
                self.add_missing_inputs(needed)
                self.add(needed)

    def add_all(self, runs: Iterable[Run], lockstep: bool) -> None:
        """Plan the arms of one seed."""
        missing = [run for run in runs if self._decide(run)]
        if not lockstep:
            self.groups += [(run,) for run in missing]
            return
        together: list[list[Run]] = []
        for run in missing:
            for group in together:
                if _fits(run, group):
                    group.append(run)
                    break
            else:
                together.append([run])
        self.groups += [tuple(group) for group in together]


def _fits(run: Run, group: Sequence[Run]) -> bool:
    """Return whether a run can share a pass: equal inputs where roles are equal, and none makes another's input."""
    names = {member.specification.digest for member in group}
    if any(needed.specification.digest in names for needed in run.required):
        return False
    own = run.specification.inputs
    return all(
        own[role] == other[role] for m in group for other in [m.specification.inputs] for role in own.keys() & other
    )
