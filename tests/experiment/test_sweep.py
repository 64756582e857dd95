"""An experiment is repeated for every size, with a control of each; arms that state a size are kept."""

from __future__ import annotations

from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.experiment.size_choice import choose_sizes
from i2ikd.experiment.size_costs import Budget, SizeCost
from i2ikd.experiment.sweep import sized_experiment, sizes

ARMS: list[dict[str, Any]] = [
    {"name": "large", "student": {"depth": 4}},
    {"name": "control"},
    {"name": "kd-mri", "recipe": "kd-mri", "teacher": "large", "epochs": 1},
    {"name": "on-top", "recipe": "kd-mri", "teacher": "kd-mri"},
]


def test_every_arm_is_repeated_with_the_inputs_of_its_size(laboratory: Any) -> None:
    experiment = laboratory.experiment("sweep.student.depth=[2,3]", "sweep.student.channels=[4]", arms=ARMS)
    found = sizes(experiment)
    assert [(size.name, dict(size.options)) for size in found] == [
        ("depth2-channels4", {"depth": 2, "channels": 4}),
        ("depth3-channels4", {"depth": 3, "channels": 4}),
    ]
    whole, groups = sized_experiment(experiment, found)
    endings = ("depth2-channels4", "depth3-channels4")
    names = [f"{arm}-{ending}" for ending in endings for arm in ("control", "kd-mri", "on-top")]
    assert [arm.name for arm in whole.arms] == ["large", *names]
    assert whole.arm("kd-mri-depth2-channels4").student == {"depth": 2, "channels": 4}
    assert whole.arm("kd-mri-depth2-channels4").teacher == "large"
    assert whole.arm("on-top-depth3-channels4").teacher == "kd-mri-depth3-channels4"
    assert [(group.control, group.main) for group in groups] == [
        (f"control-{ending}", f"kd-mri-{ending}") for ending in endings
    ]


def test_a_control_is_added_where_there_is_none(laboratory: Any) -> None:
    arms = [{"name": "kd-mri", "recipe": "kd-mri", "student": {"channels": 8}}]
    experiment = laboratory.experiment("sweep.student.depth=[2]", arms=arms)
    whole, (group,) = sized_experiment(experiment, sizes(experiment))
    assert group.names == ["control-depth2", "kd-mri-depth2"]
    control = whole.arm("control-depth2")
    assert (control.recipe, control.student) == ("student", {"channels": 8, "depth": 2})


def test_what_cannot_be_swept_is_refused(laboratory: Any) -> None:
    with pytest.raises(UserError, match="the experiment 'tiny' sweeps no option"):
        sizes(laboratory.experiment())
    with pytest.raises(UserError, match="two combinations are named 'depth2'"):
        sizes(laboratory.experiment("sweep.student.depth=[2,2]"))
    with pytest.raises(UserError, match="sweep"):
        laboratory.experiment("sweep.teacher.depth=[2]")


def test_a_budget_names_the_limits_that_are_exceeded() -> None:
    budget = Budget(latency_ms=20, params=1000)
    assert budget.quantity == "latency_ms" and Budget().quantity == "params"
    assert budget.exceeded(SizeCost(1000, 5)) == []
    assert budget.exceeded(SizeCost(1001, 5, None, 20.5)) == ["latency_ms 20.5 > 20", "params 1,001 > 1,000"]


def test_a_large_grid_is_searched_by_loss_and_cost(laboratory: Any) -> None:
    """The loss falls with depth and is lowest for 6 channels; half of the sizes are trained."""
    swept = {"depth": [2, 3, 4, 5], "channels": [2, 4, 6, 8]}
    experiment = laboratory.experiment(
        f"sweep.student.depth={swept['depth']}", f"sweep.student.channels={swept['channels']}"
    )
    _, groups = sized_experiment(experiment, sizes(experiment)[:-1])
    costs = {group.size.name: float(group.size.options["depth"] * group.size.options["channels"]) for group in groups}
    trained: list[str] = []

    def loss(group: Any) -> float:
        trained.append(group.size.name)
        options = group.size.options
        return float(1 / options["depth"] + (options["channels"] - 6) ** 2)

    chosen = choose_sizes(groups, costs, swept, 8, loss)
    assert len(chosen) == 8 and sorted(trained) == sorted(group.size.name for group in chosen)
    assert [group for group in groups if group in chosen] == chosen
    six = [group.size.name for group in chosen if group.size.options["channels"] == 6]
    assert len(six) >= 2, "more than a random half of a quarter"
