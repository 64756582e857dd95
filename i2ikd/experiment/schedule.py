"""The grid of arms x seeds: what is there already, what has to be trained and why, and having it done in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.config import Arm
from i2ikd.engine.loop import Callback
from i2ikd.engine.run import Run
from i2ikd.engine.store import differences
from i2ikd.executors.base import Executor, InProcessExecutor
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.jobs import Job

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
    jobs: tuple[Job, ...]


def decide(context: ExperimentContext, run: Run) -> Decision:
    """Look into the store for a run; where its settings changed, say which."""
    if run.folder.finished:
        return Decision(run, "reuse", "")
    if run.folder.checkpoint.is_file():
        return Decision(run, "go on", "it was interrupted")
    before = context.store.named(run.name)
    if before is None or before.path.resolve() == run.folder.path.resolve():
        return Decision(run, "train", "")
    old = (before.read("run") or {}).get("specification", {})
    changed = differences(old, run.specification.model_dump(mode="json"))
    return Decision(run, "train", "changed: " + "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else ""))


def plan(
    context: ExperimentContext,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    lockstep: bool = False,
    teachers: bool = True,
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
    jobs: list[Job] = []
    first: dict[str, Run] = {}

    def augment(run: Run) -> Decision:
        twin = first.setdefault(run.specification.digest, run)
        decision = decide(context, run)
        if twin is run or decision.action == "reuse":
            return decision
        return Decision(run, "reuse", f"it is the same run as {twin.name}")

    for seed in seeds:
        looked = [augment(context.arm_run(arm, seed)) for arm in arms]
        missing = [(arm.name, d.run) for arm, d in zip(arms, looked) if d.action != "reuse"]
        if teachers or any(run.specification.teacher is not None for _, run in missing):
            teacher = augment(context.teacher_run(seed))
            decisions.append(teacher)
            if teacher.action != "reuse":
                jobs.append(Job(seed, (), (teacher.run,)))
        decisions += looked
        for group in [missing] if lockstep and missing else [[pair] for pair in missing]:
            names, runs = zip(*group)
            needs_teacher = any(run.specification.teacher is not None for run in runs)
            jobs.append(Job(seed, names, runs, teacher.run if needs_teacher else None))
    return Plan(tuple(decisions), tuple(jobs))


def execute(context: ExperimentContext, wanted: Plan, executor: Executor, say: Say) -> None:
    """Say what was decided, and have every unit trained, each after its teacher.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: a unit cannot be trained.
    """
    for decision in wanted.decisions:
        say(str(decision))
        if decision.action == "reuse" and decision.run.folder.finished:
            context.store.name(decision.run.name, decision.run.folder)
    waiting = _without_given(context, wanted)
    if executor.slots > 1:
        waiting.sort(key=lambda job: bool(job.arms))  # the teachers first: others wait for them
    going: list[Job] = []
    if not waiting:
        return
    with executor:
        while waiting or going:
            ready = [job for job in waiting if not job.waits_for([*waiting, *going])]
            for job in ready[: executor.slots - len(going)]:
                _name(context, wanted, job)
                executor.start(job)
                waiting.remove(job)
                going.append(job)
            going.remove(executor.ended())


def _without_given(context: ExperimentContext, wanted: Plan) -> list[Job]:
    """Take the weights of a given teacher, which are no training; return what is to be trained."""
    if context.experiment.teacher.weights is None:
        return list(wanted.jobs)
    for job in wanted.jobs:
        if not job.arms:
            _name(context, wanted, job)
            context.take_given_teacher(job.runs[0])
    return [job for job in wanted.jobs if job.arms]


def _name(context: ExperimentContext, wanted: Plan, job: Job) -> None:
    """Let the names of a unit's runs point to them: before this, they point to what was there under older settings."""
    digests = {run.specification.digest for run in job.runs}
    for decision in wanted.decisions:
        if decision.run.specification.digest in digests:
            context.store.name(decision.run.name, decision.run.folder)


def train_teacher(context: ExperimentContext, seed: int, callback: Callback | None = None, say: Say = print) -> Run:
    """Train a seed's teacher in this process, or find it, or take the weights that were given."""
    execute(context, plan(context, [], [seed]), InProcessExecutor(context, callback), say)
    return context.teacher_run(seed)


def train_arms(
    context: ExperimentContext,
    arms: Sequence[Arm],
    seed: int,
    callback: Callback | None = None,
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
    wanted = plan(context, arms, [seed], lockstep=lockstep, teachers=False)
    execute(context, wanted, InProcessExecutor(context, callback), say)
    return [context.arm_run(arm, seed) for arm in arms]
