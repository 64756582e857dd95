"""The grid of arms x seeds: what is there already, what has to be trained and why, and having it done in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.compare.executors import Executor, InProcess
from i2ikd.compare.units import Unit
from i2ikd.compare.workbench import Workbench
from i2ikd.config import Arm
from i2ikd.engine.loop import Watcher
from i2ikd.engine.run import Run
from i2ikd.engine.store import differences

Say = Callable[[str], None]


@dataclass(frozen=True)
class Decision:
    """What is done about one run, and why."""

    run: Run
    action: Literal["reuse", "go on", "train"]
    reason: str

    def __str__(self) -> str:
        return f"{self.action:>6}  {self.run.name}" + (f"  ({self.reason})" if self.reason else "")


@dataclass(frozen=True)
class Plan:
    """What is done about every run of a grid, and in which units the missing ones are trained, by seed."""

    decisions: tuple[Decision, ...]
    units: tuple[Unit, ...]


def decide(bench: Workbench, run: Run) -> Decision:
    """Look into the store for a run; where its settings changed, say which."""
    if run.folder.finished:
        return Decision(run, "reuse", "")
    if run.folder.checkpoint.is_file():
        return Decision(run, "go on", "it was interrupted")
    before = bench.store.named(run.name)
    if before is None or before.path.resolve() == run.folder.path.resolve():
        return Decision(run, "train", "")
    old = (before.read("run") or {}).get("specification", {})
    changed = differences(old, run.specification.model_dump(mode="json"))
    return Decision(run, "train", "changed: " + "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else ""))


def plan(
    bench: Workbench, arms: Sequence[Arm], seeds: Sequence[int], *, lockstep: bool = False, teachers: bool = True
) -> Plan:
    """Look which runs of a grid are missing, and divide them into units; runs of one specification are one run.

    Args:
        bench: the experiment.
        arms: which; none: only the teachers.
        seeds: which.
        lockstep: the missing arms of a seed are one unit, instead of one each.
        teachers: the teacher of every seed, instead of those that missing arms listen to.
    """
    decisions: list[Decision] = []
    units: list[Unit] = []
    first: dict[str, Run] = {}

    def look(run: Run) -> Decision:
        twin = first.setdefault(run.specification.digest, run)
        decision = decide(bench, run)
        if twin is run or decision.action == "reuse":
            return decision
        return Decision(run, "reuse", f"it is the same run as {twin.name}")

    for seed in seeds:
        looked = [look(bench.arm_run(arm, seed)) for arm in arms]
        missing = [(arm.name, d.run) for arm, d in zip(arms, looked) if d.action != "reuse"]
        if teachers or any(run.specification.teacher is not None for _, run in missing):
            teacher = look(bench.teacher_run(seed))
            decisions.append(teacher)
            if teacher.action != "reuse":
                units.append(Unit(seed, (), (teacher.run,)))
        decisions += looked
        for group in [missing] if lockstep and missing else [[pair] for pair in missing]:
            names, runs = zip(*group)
            listens = any(run.specification.teacher is not None for run in runs)
            units.append(Unit(seed, names, runs, teacher.run if listens else None))
    return Plan(tuple(decisions), tuple(units))


def carry_out(bench: Workbench, wanted: Plan, executor: Executor, say: Say) -> None:
    """Say what was decided, and have every unit trained, each after its teacher.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: a unit cannot be trained.
    """
    for decision in wanted.decisions:
        say(str(decision))
        if decision.action == "reuse" and decision.run.folder.finished:
            bench.store.name(decision.run.name, decision.run.folder)
    waiting = _without_given(bench, wanted)
    if executor.slots > 1:
        waiting.sort(key=lambda unit: bool(unit.arms))  # the teachers first: others wait for them
    going: list[Unit] = []
    if not waiting:
        return
    with executor:
        while waiting or going:
            ready = [unit for unit in waiting if not unit.waits_for([*waiting, *going])]
            for unit in ready[: executor.slots - len(going)]:
                _name(bench, wanted, unit)
                executor.start(unit)
                waiting.remove(unit)
                going.append(unit)
            going.remove(executor.ended())


def _without_given(bench: Workbench, wanted: Plan) -> list[Unit]:
    """Take the weights of a given teacher, which are no training; return what is to be trained."""
    if bench.experiment.teacher.weights is None:
        return list(wanted.units)
    for unit in wanted.units:
        if not unit.arms:
            _name(bench, wanted, unit)
            bench.take_given_teacher(unit.runs[0])
    return [unit for unit in wanted.units if unit.arms]


def _name(bench: Workbench, wanted: Plan, unit: Unit) -> None:
    """Let the names of a unit's runs point to them: before this, they point to what was there under older settings."""
    digests = {run.specification.digest for run in unit.runs}
    for decision in wanted.decisions:
        if decision.run.specification.digest in digests:
            bench.store.name(decision.run.name, decision.run.folder)


def train_teacher(bench: Workbench, seed: int, watcher: Watcher | None = None, say: Say = print) -> Run:
    """Train a seed's teacher in this process, or find it, or take the weights that were given."""
    carry_out(bench, plan(bench, [], [seed]), InProcess(bench, watcher), say)
    return bench.teacher_run(seed)


def train_arms(
    bench: Workbench,
    arms: Sequence[Arm],
    seed: int,
    watcher: Watcher | None = None,
    say: Say = print,
    lockstep: bool = False,
) -> list[Run]:
    """Train the arms of one seed in this process, after its teacher; finished ones are left alone.

    Args:
        bench: the experiment.
        arms: which.
        seed: which.
        watcher: is told how the work goes on.
        say: prints what is reused and what is trained, and why.
        lockstep: all in one pass over the data and the teacher, instead of one after the other; the numbers are
            the same.
    """
    wanted = plan(bench, arms, [seed], lockstep=lockstep, teachers=False)
    carry_out(bench, wanted, InProcess(bench, watcher), say)
    return [bench.arm_run(arm, seed) for arm in arms]
