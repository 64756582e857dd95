"""What an experiment states on its controls: arms without a teacher, and the learning rates of the control."""

from __future__ import annotations

from typing import Any

from i2ikd.experiment.controls import Controls, controls_of

CONTROL = {"name": "control", "recipe": "student"}


def controls(laboratory: Any, arms: list[dict[str, Any]]) -> Controls:
    graph = laboratory.graph(arms=arms)
    return controls_of(graph, graph.context.experiment.arms, 0)


def test_arms_in_which_no_other_network_takes_part_have_no_teacher(laboratory: Any) -> None:
    found = controls(
        laboratory,
        [
            CONTROL,
            {"name": "deep", "recipe": "deep-supervision"},
            {"name": "images", "recipe": "imitation"},
            {"name": "layers", "recipe": "teacher-start", "layers": [["cascades.*.layers.0", "cascades.*.layers.0"]]},
        ],
    )
    assert found.without_teacher == {"control", "deep"}


def test_rates_are_those_of_the_control_s_network_without_a_teacher(laboratory: Any) -> None:
    arms = [
        CONTROL,
        {"name": "faster", "recipe": "student", "student": {"training": {"lr": 0.25}}},
        {"name": "images", "recipe": "imitation", "student": {"training": {"lr": 0.5}}},
        {"name": "other", "recipe": "student", "student": {"channels": 3, "training": {"lr": 0.75}}},
    ]
    (single,) = controls(laboratory, [arms[0], *arms[2:]]).rates
    assert single not in (0.25, 0.5, 0.75)
    assert controls(laboratory, arms).rates == {single, 0.25}


def test_without_a_control_no_rate_is_known(laboratory: Any) -> None:
    assert controls(laboratory, [{"name": "other", "recipe": "student"}]).rates == frozenset()
