"""The grid of arms x seeds: what is there already, what has to be trained and why, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from i2ikd.compare.workbench import Workbench
from i2ikd.config import Arm
from i2ikd.engine.loop import Watcher
from i2ikd.engine.run import Run, train_runs
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


def train_teacher(bench: Workbench, seed: int, watcher: Watcher | None = None, say: Say = print) -> Run:
    """Train a seed's teacher, or find it, or take the weights that were given."""
    run = bench.teacher_run(seed)
    decision = decide(bench, run)
    say(str(decision))
    bench.store.name(run.name, run.folder)
    if decision.action != "reuse":
        if bench.experiment.teacher.weights is not None:
            bench.take_given_teacher(run)
        else:
            train_runs([run], bench.ground(seed), watcher)
    return run


def train_arms(
    bench: Workbench,
    arms: Sequence[Arm],
    seed: int,
    watcher: Watcher | None = None,
    say: Say = print,
    lockstep: bool = False,
) -> list[Run]:
    """Train the arms of one seed, after its teacher; finished ones are left alone.

    Args:
        bench: the experiment.
        arms: which.
        seed: which.
        watcher: is told how the work goes on.
        say: prints what is reused and what is trained, and why.
        lockstep: all in one pass over the data and the teacher, instead of one after the other; the numbers are
            the same.
    """
    runs = [bench.arm_run(arm, seed) for arm in arms]
    decisions = [decide(bench, run) for run in runs]
    waiting = [d.run for d in decisions if d.action != "reuse"]
    teacher_run = None
    if any(run.specification.teacher is not None for run in waiting):
        teacher_run = train_teacher(bench, seed, watcher, say)
    groups = _groups(waiting, lockstep)
    for decision in decisions:
        say(str(decision))
        bench.store.name(decision.run.name, decision.run.folder)
    for group in groups:
        listens = any(run.specification.teacher is not None for run in group)
        if listens and teacher_run is not None:
            ground = bench.ground(seed, bench.load(teacher_run), teacher_run.specification.digest)
        else:
            ground = bench.ground(seed)
        train_runs(group, ground, watcher)
    return runs


def _groups(runs: Sequence[Run], lockstep: bool) -> list[list[Run]]:
    """Split into what is trained together; runs of one specification are one run."""
    distinct = list({run.specification.digest: run for run in runs}.values())
    if lockstep:
        return [distinct] if distinct else []
    return [[run] for run in distinct]
