"""Recipes of the schemes: their stages, and that they have the budget of plain training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from i2ikd import Stage, Start, UserError, default_registry
from i2ikd.config import Training
from i2ikd.engine.plan import plan_stages


def stages(recipe: str, **options: Any) -> list[Stage]:
    made: list[Stage] = default_registry().create("recipe", recipe, options)
    return made


@pytest.mark.parametrize("recipe", ["teacher-start", "grafting", "fading-imitation", "recommended", "student-friendly"])
@pytest.mark.parametrize("total", [2, 3, 10, 149])
def test_the_budget_is_that_of_plain_training(recipe: str, total: int) -> None:
    for options, training in (({}, total), ({"epochs": total}, 7)):
        planned = plan_stages(stages(recipe, **options), Training(epochs=training), "arm 'x'")
        assert sum(stage.epochs for stage in planned) == total


def test_grafting_is_a_constant_rate_and_then_the_target_along_a_cosine() -> None:
    blocks = [["a.*", "b.*"]]
    first, second = stages("grafting", mode="stochastic", blocks=blocks, layers=[["c", "d"]], share=0.4)
    planned = plan_stages([first, second], Training(epochs=10, schedule="step"), "arm 'x'")
    assert [stage.epochs for stage in planned] == [4, 6]
    assert [stage.training.schedule for stage in planned] == ["constant", "cosine"]
    assert first.minimises.name == "block-grafting"
    assert first.minimises.options == {"mode": "stochastic", "blocks": [("a.*", "b.*")]}
    assert first.start == Start.model_validate({"from": "teacher", "map": [("c", "d")]})
    assert second.start == "previous" and [term.distiller.name for term in second.terms] == ["target"]


def test_recommended_is_grafting() -> None:
    assert stages("recommended") == stages("grafting")
    assert stages("recommended", epochs=9, blocks="dc-cnn-blocks") == stages(
        "grafting", epochs=9, blocks="dc-cnn-blocks"
    )


def test_fading_imitation_ends_with_the_target_alone() -> None:
    (stage,) = stages("fading-imitation", start=0.2, until=0.5, loss="mse")
    target, imitation = stage.terms
    assert imitation.distiller.options == {"loss": "mse"}
    weights = [(target.weight_at(epoch, 8), imitation.weight_at(epoch, 8)) for epoch in range(8)]
    assert weights[0] == (0.2, 0.8)
    assert all(sum(pair) == pytest.approx(1) for pair in weights)
    assert weights[4:] == [(1.0, 0.0)] * 4


def test_one_epoch_is_too_short_for_two_stages() -> None:
    with pytest.raises(UserError, match="grafting: expected at least 2 epochs, one for each stage, got epochs = 1"):
        stages("grafting", epochs=1)
    assert [stage.epochs for stage in stages("grafting", epochs=2, share=0.9)] == [1, 1]


class TestInAnExperiment:
    def test_a_student_starts_from_the_registered_layers(self, laboratory: Any) -> None:
        arms = [{"name": "arm", "recipe": "teacher-start"}]
        still = ("training.lr=1e-12", "training.optimizer=sgd", "training.epochs=1")
        graph = laboratory.graph(*still, arms=arms)
        student = laboratory.weights(laboratory.train(graph, "arm"))
        teacher = laboratory.weights(graph.teacher_run(0))
        for name, tensor in student.items():
            cascade, layer, rest = name.split(".")[1], name.split(".")[3], name.split(".", 4)[4]
            index = {"0": 0, "1": 1, "2": 3}[layer]
            source = teacher[f"cascades.{cascade}.layers.{index}.{rest}"]
            assert torch.allclose(tensor, source, atol=1e-6), name

    def test_grafting_trains_on_blocks_and_then_on_the_target(self, laboratory: Any) -> None:
        arms = [{"name": "arm", "recipe": "recommended"}]
        graph = laboratory.graph("training.epochs=4", "training.validate_every=1", arms=arms)
        history = laboratory.train(graph, "arm").folder.read("history")
        assert [(row["stage"], sorted(row["losses"])) for row in history] == [
            ("grafting", ["blocks", "total"]),
            *[("target", ["target", "total"])] * 3,
        ]
        assert all(row["validation"] is not None for row in history)

    def test_networks_without_registered_blocks_need_options(self, laboratory: Any) -> None:
        plain = 'student={model = "plain-cnn", channels = 4, depth = 3}'
        teacher = 'teacher={model = "plain-cnn", channels = 4, depth = 4}'
        graph = laboratory.graph(plain, teacher, arms=[{"name": "arm", "recipe": "recommended"}])
        with pytest.raises(UserError, match=r"\(blocks\) of 'plain-cnn' and 'plain-cnn', .*; set blocks = "):
            laboratory.train(graph, "arm")
