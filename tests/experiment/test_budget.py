"""Epochs that an arm's runs spend on its student, and the warning of a control with fewer."""

from __future__ import annotations

from typing import Any

import pytest

from i2ikd.experiment.budget import student_epochs, unequal_budgets
from i2ikd.experiment.compare import compare


def stage(start: Any, name: str = "reconstruction", **settings: Any) -> dict[str, Any]:
    return {"name": name, "terms": [{"distiller": "target"}], "start": start, **settings}


def custom(*stages: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"name": "arm", "recipe": "custom", "stages": list(stages), **settings}


BRANCHES = {"from": "teacher", "network": "student"}
PLAIN = {"name": "student"}
CONTROL = {"name": "control", "stages": 2}


def spent(laboratory: Any, arm: dict[str, Any], *others: dict[str, Any], settings: tuple[str, ...] = ()) -> int:
    graph = laboratory.graph("training.epochs=10", *settings, arms=[PLAIN, *others, arm])
    return student_epochs(graph.arm_run(graph.context.experiment.arm("arm"), 0))


@pytest.mark.parametrize(
    ("arm", "epochs"),
    [
        ({"name": "arm"}, 10),
        ({"name": "arm", "stages": 2}, 20),
        ({"name": "arm", "recipe": "kd-mri"}, 20),
        ({"name": "arm", "recipe": "kd-mri", "feature_epochs": 3, "epochs": 7}, 10),
        ({"name": "arm", "recipe": "grafting"}, 10),
        ({"name": "arm", "recipe": "teacher-start"}, 10),
        ({"name": "arm", "recipe": "fading-imitation"}, 10),
    ],
    ids=str,
)
def test_all_stages_count_and_the_training_of_the_teacher_does_not(
    arm: dict[str, Any], epochs: int, laboratory: Any
) -> None:
    assert spent(laboratory, arm, settings=("teacher.training.epochs=100",)) == epochs


def test_a_teacher_that_trained_blocks_of_the_student_counts_once(laboratory: Any) -> None:
    settings = ("teacher.training.epochs=100", 'teacher.recipe="student-friendly"')
    assert spent(laboratory, custom(stage(BRANCHES)), settings=settings) == 10 + 100
    again = custom(stage(BRANCHES, "first", epochs=3), stage(BRANCHES, "second", epochs=4))
    assert spent(laboratory, again, settings=settings) == 3 + 4 + 100
    assert spent(laboratory, custom(stage({"from": "teacher"})), settings=settings) == 10, "layers of a larger network"


def test_a_run_of_the_same_network_that_the_student_starts_from_counts(laboratory: Any) -> None:
    first = {"name": "first", "stages": 3}
    inputs = {"inputs": {"first": ["first"]}}
    assert spent(laboratory, custom(stage({"from": "first"}), **inputs), first) == 10 + 30
    larger = {**first, "student": {"depth": 4}}
    assert spent(laboratory, custom(stage({"from": "first"}), **inputs), larger) == 10


def test_an_assistant_that_only_teaches_does_not_count(laboratory: Any) -> None:
    assistant = {"name": "assistant", "recipe": "imitation", "student": {"depth": 4}}
    assert spent(laboratory, {"name": "arm", "recipe": "imitation", "teacher": "assistant"}, assistant) == 10


def test_a_chain_of_starts_counts_every_link(laboratory: Any) -> None:
    first = {"name": "first"}
    second = {**custom(stage({"from": "first"}), inputs={"first": ["first"]}), "name": "second"}
    third = custom(stage({"from": "second"}), inputs={"second": ["second"]})
    assert spent(laboratory, third, first, second) == 30


class TestWarning:
    def lines(self, laboratory: Any, *arms: dict[str, Any], settings: tuple[str, ...] = ()) -> list[str]:
        graph = laboratory.graph("training.epochs=10", *settings, arms=list(arms))
        return unequal_budgets(graph, graph.context.experiment.arms, 0)

    def test_names_the_arm_the_control_and_both_budgets(self, laboratory: Any) -> None:
        (line,) = self.lines(laboratory, PLAIN, {"name": "control"}, {"name": "kd", "recipe": "kd-mri"})
        assert line.startswith(
            "warning: arm 'kd' trains its student for 20 epochs, the control 'control' for 10; give the control"
        )

    def test_is_not_printed_for_equal_and_smaller_budgets(self, laboratory: Any) -> None:
        assert self.lines(laboratory, PLAIN, CONTROL, {"name": "kd", "recipe": "kd-mri"}) == []

    def test_is_not_printed_without_a_control(self, laboratory: Any) -> None:
        assert self.lines(laboratory, PLAIN, {"name": "kd", "recipe": "kd-mri"}) == []

    def test_follows_the_name_of_the_control(self, laboratory: Any) -> None:
        arms = (PLAIN, CONTROL, {"name": "kd", "recipe": "kd-mri"})
        lines = self.lines(laboratory, *arms, settings=('comparison.control="student"',))
        assert [line.split("'")[1] for line in lines] == ["control", "kd"]

    def test_counts_the_branches_of_the_teacher(self, laboratory: Any) -> None:
        settings = ('teacher.recipe="student-friendly"',)
        (line,) = self.lines(laboratory, {"name": "control"}, custom(stage(BRANCHES)), settings=settings)
        assert "arm 'arm' trains its student for 20 epochs, the control 'control' for 10" in line

    def test_is_logged_before_the_first_training(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=[{"name": "control"}, {"name": "kd", "recipe": "kd-mri"}])
        log: list[str] = []
        compare(graph, graph.context.experiment.arms, [0], log=log.append)
        warned = [number for number, line in enumerate(log) if line.startswith("warning: arm 'kd'")]
        trained = [number for number, line in enumerate(log) if "train" in line and not line.startswith("warning")]
        assert len(warned) == 1 and trained and warned[0] < trained[0], log
