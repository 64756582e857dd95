"""A grid is divided into units, and an executor gets each after the teacher that it needs."""

from __future__ import annotations

from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan

ARMS = [
    {"name": "student"},
    {"name": "twin"},
    {"name": "kd-mri", "recipe": "kd-mri"},
    {"name": "fit", "recipe": "joint", "distiller": "fitnet"},
]


class Recorder:
    """Ends units in the order in which they were started, or the newest first, and trains nothing."""

    def __init__(self, slots: int, last: bool = False) -> None:
        self.slots = slots
        self.last = last
        self.going: list[Any] = []
        self.events: list[str] = []
        self.left = 0

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.left += 1

    def submit(self, job: Any) -> None:
        self.going.append(job)
        self.events.append(f"+{job.name}")
        assert len(self.going) <= self.slots

    def wait(self) -> Any:
        job = self.going.pop(-1 if self.last else 0)
        self.events.append(f"-{job.name}")
        return job


def carried_out(laboratory: Any, executor: Recorder, seeds: tuple[int, ...], **settings: Any) -> list[str]:
    graph = laboratory.graph(arms=ARMS)
    lines: list[str] = []
    train_plan(graph, plan(graph, graph.context.experiment.arms, seeds, **settings), executor, lines.append)
    assert executor.left == 1 and not executor.going
    return lines


def test_one_at_a_time_goes_seed_by_seed(laboratory: Any) -> None:
    executor = Recorder(slots=1)
    lines = carried_out(laboratory, executor, (0, 3))
    made = ["teacher/seed", "students/student/seed", "students/kd-mri/seed", "students/fit/seed"]
    assert executor.events == [f"{sign}{name}{seed}" for seed in (0, 3) for name in made for sign in "+-"]
    assert len(lines) == 2 * 5
    assert lines[2].strip() == "reuse  students/twin/seed0  (it is the same run as students/student/seed0)"


def test_several_at_a_time_wait_for_nothing_but_their_teacher(laboratory: Any) -> None:
    executor = Recorder(slots=3, last=True)
    carried_out(laboratory, executor, (0, 3))
    assert executor.events[:4] == [
        "+teacher/seed0",
        "+teacher/seed3",
        "+students/student/seed0",
        "-students/student/seed0",
    ]
    for seed in (0, 3):
        for arm in ("kd-mri", "fit"):
            assert executor.events.index(f"-teacher/seed{seed}") < executor.events.index(f"+students/{arm}/seed{seed}")
    assert executor.events[4] == "+students/student/seed3", "what needs no teacher goes on meanwhile"
    assert sorted(event[1:] for event in executor.events if event[0] == "+") == sorted(
        f"{name}/seed{seed}"
        for seed in (0, 3)
        for name in ("teacher", "students/student", "students/kd-mri", "students/fit")
    ), "each once, and twins as one"


def test_in_lockstep_a_seed_is_a_unit(laboratory: Any) -> None:
    executor = Recorder(slots=2)
    carried_out(laboratory, executor, (0, 3), lockstep=True)
    arms = "students/{student,kd-mri,fit}/seed"
    assert executor.events == [
        "+teacher/seed0", "+teacher/seed3", "-teacher/seed0", f"+{arms}0", "-teacher/seed3", f"+{arms}3",
        f"-{arms}0", f"-{arms}3",
    ]  # fmt: skip


def test_only_the_teacher_that_an_arm_needs_is_planned(laboratory: Any) -> None:
    graph = laboratory.graph(arms=ARMS)
    alone = plan(graph, [graph.context.experiment.arm("student")], [0], teachers=False)
    assert [run.name for group in alone.groups for run in group] == ["students/student/seed0"]
    with_teacher = plan(graph, [graph.context.experiment.arm("fit")], [0], teachers=False)
    assert [run.name for group in with_teacher.groups for run in group] == ["teacher/seed0", "students/fit/seed0"]


def test_names_point_to_the_old_run_until_the_new_one_starts(laboratory: Any) -> None:
    """So that a comparison that is stopped before, and started again, still reports what changed."""

    class Failing(Recorder):
        def wait(self) -> Any:
            raise UserError("no")

    carried_out(laboratory, Recorder(slots=1), (0,))
    for run in (laboratory.graph(arms=ARMS).arm_run(arm, 0) for arm in laboratory.experiment(arms=ARMS).arms):
        run.folder.write("run", {"specification": run.specification.model_dump(mode="json")})
    graph, executor = laboratory.graph("training.epochs=3", arms=ARMS), Failing(slots=2)
    wanted = plan(graph, graph.context.experiment.arms, [0])
    with pytest.raises(UserError, match="no"):
        train_plan(graph, wanted, executor, lambda _: None)
    assert executor.left == 1, "what was started is ended"
    assert executor.events == ["+teacher/seed0", "+students/student/seed0"]
    reasons = {d.run.name: d.reason for d in plan(graph, graph.context.experiment.arms, [0]).decisions}
    assert reasons["students/student/seed0"] == ""
    assert "stages.0.training.epochs: 2 -> 3" in reasons["students/kd-mri/seed0"]
