"""The warning, before training, of a teacher that lacks what its student has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import pytest
from torch import Tensor, nn

from i2ikd import Batch, Task, Transform, hookimpl
from i2ikd.experiment.compare import compare
from i2ikd.experiment.levers import missing_levers
from i2ikd.hookspecs import Register

BOTH = ("teacher.residual=true", 'teacher.transforms=["collapsible"]')
LEVERS = {"residual": True, "transforms": ["collapsible"]}


class Narrow(nn.Module):
    """Network without options."""

    def forward(self, image: Tensor, **conditions: Tensor) -> Tensor:
        return image


def lines(laboratory: Any, *settings: str, arms: list[dict[str, Any]]) -> list[str]:
    graph = laboratory.graph(*settings, arms=arms)
    return missing_levers(graph, graph.context.experiment.arms, 0)


def arm(**student: Any) -> dict[str, Any]:
    return {"name": "arm", "recipe": "imitation", "student": student}


@pytest.mark.parametrize(
    ("student", "named"),
    [
        ({"transforms": ["collapsible"]}, "the transform 'collapsible'"),
        ({"residual": True}, "residual = true"),
        (LEVERS, "the transform 'collapsible', residual = true"),
        ({"training": {"ema": 0.9}}, "a moving average (ema)"),
    ],
    ids=str,
)
def test_a_lever_of_the_student_alone_is_named(student: dict[str, Any], named: str, laboratory: Any) -> None:
    (line,) = lines(laboratory, arms=[arm(**student)])
    assert line.startswith(f"warning: arm 'arm': its student has {named}, and its teacher has not; ")
    assert line.endswith("set the same in [teacher]")


def test_a_transform_of_the_arm_counts_as_one_of_its_student(laboratory: Any) -> None:
    assert len(lines(laboratory, arms=[{**arm(), "transforms": ["collapsible"]}])) == 1


def test_equal_levers_are_silent(laboratory: Any) -> None:
    assert lines(laboratory, *BOTH, arms=[arm(**LEVERS), arm() | {"name": "without"}]) == []
    assert lines(laboratory, "training.ema=0.9", arms=[arm()]) == []


def test_one_of_two_levers_is_named_alone(laboratory: Any) -> None:
    (line,) = lines(laboratory, "teacher.residual=true", arms=[arm(**LEVERS)])
    assert "the transform 'collapsible'" in line and "residual" not in line


def test_sizes_are_no_levers(laboratory: Any) -> None:
    assert lines(laboratory, arms=[arm(depth=6, channels=8)]) == []


def test_an_arm_without_a_teacher_is_silent(laboratory: Any) -> None:
    assert lines(laboratory, arms=[{"name": "control", "student": LEVERS}]) == []


class TestControl:
    CONTROL: ClassVar = {"name": "control", "student": LEVERS}

    def test_its_levers_are_named_where_the_teacher_teaches_another_arm(self, laboratory: Any) -> None:
        (line,) = lines(laboratory, arms=[self.CONTROL, arm()])
        assert line.startswith(
            "warning: the control 'control' has the transform 'collapsible', residual = true, and the teacher has not; "
        )
        assert line.endswith("set the same in [teacher]")
        assert lines(laboratory, *BOTH, arms=[self.CONTROL, arm()]) == []

    def test_they_are_named_once(self, laboratory: Any) -> None:
        (line,) = lines(laboratory, arms=[self.CONTROL, arm(**LEVERS)])
        assert line.startswith("warning: arm 'arm'")

    def test_a_teacher_that_teaches_no_arm_is_silent(self, laboratory: Any) -> None:
        taught = {**arm(), "teacher": "plain"}
        assert lines(laboratory, arms=[self.CONTROL, {"name": "plain", "student": {"depth": 5}}, taught]) == []

    def test_they_are_part_of_the_conclusion_on_the_teacher(self, laboratory: Any) -> None:
        graph = laboratory.graph("teacher.training={lr=1e-9}", arms=[self.CONTROL, arm()])
        logged: list[str] = []
        comparison = compare(graph, graph.context.experiment.arms, [0], log=logged.append)
        assert any(line.startswith("warning: the control 'control' has") for line in logged)
        (found,) = [conclusion for conclusion in comparison.conclusions if conclusion.warning]
        assert "[teacher], which lacks the transform 'collapsible', residual = true; or train it longer" in found.text


def test_an_arm_that_reuses_a_trained_network_is_silent(laboratory: Any) -> None:
    again = {"name": "again", "of": "arm", "transforms": ["collapsible"]}
    (line,) = lines(laboratory, arms=[arm(**LEVERS), again])
    assert "arm 'arm'" in line


class Unchanged(Transform):
    """Transform of a finished network."""

    when: ClassVar[Literal["training", "trained"]] = "trained"

    def apply(self, network: nn.Module, batches: Iterable[Batch], task: Task) -> nn.Module:
        return network


class Probe:
    @hookimpl
    def register_transforms(self, register: Register) -> None:
        register("unchanged", Unchanged, summary="of a finished network")


def test_a_transform_of_the_finished_network_is_no_lever(laboratory: Any) -> None:
    graph = laboratory.graph(arms=[arm(transforms=["unchanged"])], plugins=(Probe(),))
    assert graph.trained_transforms("arm") == [{"name": "unchanged"}]
    assert missing_levers(graph, graph.context.experiment.arms, 0) == []


def test_another_arm_as_teacher_is_the_one_that_counts(laboratory: Any) -> None:
    plain = {"name": "plain", "student": {"depth": 5}}
    taught = {**arm(**LEVERS), "teacher": "plain"}
    (line,) = lines(laboratory, *BOTH, arms=[plain, taught])
    assert line.endswith("set the same in the arm 'plain'")
    equal = {"name": "plain", "student": {"depth": 5, **LEVERS}}
    assert lines(laboratory, arms=[equal, taught]) == []


def test_an_option_that_the_model_of_the_teacher_lacks_is_silent(laboratory: Any) -> None:
    teacher = f'teacher={{model="import:{Narrow.__module__}:Narrow"}}'
    assert lines(laboratory, teacher, arms=[arm(residual=True)]) == []


def test_a_teacher_with_given_weights_is_silent(laboratory: Any) -> None:
    file = laboratory.folder / "weights.pt"
    file.write_bytes(b"weights of a network that is not opened")
    assert lines(laboratory, f'teacher.weights="{file}"', arms=[arm(**LEVERS)]) == []
