"""Recipes of the schemes: their stages, and that they have the budget of plain training."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

import i2ikd
from i2ikd import Stage, Start, UserError, default_registry
from i2ikd.config import Training
from i2ikd.engine.plan import plan_stages
from i2ikd.experiment.checks import check
from i2ikd.experiment.left_out import left_out


def stages(recipe: str, **options: Any) -> list[Stage]:
    made: list[Stage] = default_registry().create("recipe", recipe, options)
    return made


RECIPES = [
    "teacher-start",
    "grafting",
    "fading-imitation",
    "deep-supervision",
    "unlabelled-imitation",
    "recommended",
    "student-friendly",
]


@pytest.mark.parametrize("recipe", RECIPES)
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


def test_further_terms_belong_to_the_stage_of_the_target() -> None:
    terms = [{"distiller": "attention", "ratio": 0.1}]
    for recipe in ("grafting", "recommended"):
        first, second = stages(recipe, terms=terms)
        assert first == stages(recipe)[0]
        assert [(term.distiller.name, term.ratio) for term in second.terms] == [("target", None), ("attention", 0.1)]


def test_recipes_of_one_objective_pass_its_options() -> None:
    (stage,) = stages("deep-supervision", reference="teacher", weight={"start": 0.5, "end": 0.0, "until": 1.0})
    assert stage.minimises.name == "deep-supervision"
    assert stage.minimises.options == {"reference": "teacher", "weight": {"start": 0.5, "end": 0.0, "until": 1.0}}
    (stage,) = stages("unlabelled-imitation", target=0.0, batch=2)
    assert stage.minimises.name == "unlabelled-imitation"
    assert stage.minimises.options == {"target": 0.0, "imitation": 0.0, "weight": 1.0, "batch": 2}


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

    def test_grafting_of_networks_without_registered_blocks_needs_options(self, laboratory: Any) -> None:
        graph = laboratory.graph(*plain(4, 3), arms=[{"name": "arm", "recipe": "grafting"}])
        with pytest.raises(UserError, match=r"\(blocks\) of 'plain-cnn' and 'plain-cnn', .*; set blocks = "):
            laboratory.train(graph, "arm")


def plain(teacher: int, student: int, channels: tuple[int, int] = (4, 4)) -> tuple[str, str]:
    """Settings of two plain CNNs of some depths."""
    return tuple(
        f'{side}={{model = "plain-cnn", channels = {width}, depth = {depth}}}'
        for side, depth, width in zip(("teacher", "student"), (teacher, student), channels)
    )


class TestWhatRecommendedLeavesOut:
    def planned(self, laboratory: Any, *settings: str, **arm: Any) -> tuple[list[Stage], list[str]]:
        graph = laboratory.graph(
            "training.epochs=10", *settings, arms=[{"name": "arm", "recipe": "recommended", **arm}]
        )
        run = graph.arm_run(graph.context.experiment.arm("arm"), 0)
        assert sum(stage.epochs for stage in run.stages) == 10
        return [stage.stage for stage in run.stages], left_out(graph, graph.context.experiment.arms)

    def test_nothing_where_blocks_and_layers_are_registered(self, laboratory: Any) -> None:
        found, lines = self.planned(laboratory)
        assert found == stages("recommended") and lines == []

    def test_grafting_without_blocks(self, laboratory: Any) -> None:
        (stage,), (line,) = self.planned(laboratory, *plain(4, 3))
        assert stage.start == Start.model_validate({"from": "teacher"})
        assert stage.training == {"schedule": "cosine", "warmup_epochs": 2}
        assert line.startswith("arm 'arm': the recipe 'recommended' leaves out: block grafting: the stage 'grafting', ")
        assert line.endswith("(`i2ikd show model NAME --taps -o OPTION=VALUE` lists the paths)")

    def test_the_start_without_layers_of_equal_shape(self, laboratory: Any) -> None:
        found, (line,) = self.planned(laboratory, "teacher.channels=6")
        assert [stage.name for stage in found] == ["grafting", "target"]
        assert [stage.start for stage in found] == ["previous", "previous"]
        assert "leaves out: start from the teacher's layers: the stage 'target': expected" in line

    def test_both_is_an_error_that_names_an_alternative(self, laboratory: Any) -> None:
        with pytest.raises(
            UserError, match=r"^arm 'arm': recommended: expected blocks or layers .* recipe = 'fading-imitation'"
        ):
            self.planned(laboratory, *plain(4, 3, (6, 4)))

    def test_what_is_stated_is_refused_and_not_left_out(self, laboratory: Any) -> None:
        settings = ("training.epochs=10", *plain(4, 3, (6, 4)))
        arm = {"name": "arm", "recipe": "recommended", "blocks": [["layers.1", "layers.1"]]}
        graph = laboratory.graph(*settings, arms=[arm])
        with pytest.raises(UserError, match=r"'layers.1' and 'layers.1' .* got \[6, 32, 32\] -> .* through an adapter"):
            check(graph, graph.context.experiment.arms)

    def test_an_arm_that_is_taught_by_another_is_tried_with_its_teacher(self, laboratory: Any) -> None:
        arms = [
            {"name": "middle", "student": {"cascades": 3}},
            {"name": "arm", "recipe": "recommended", "teacher": "middle"},
        ]
        graph = laboratory.graph(arms=arms)
        graph.arm_run(graph.context.experiment.arm("arm"), 0)
        (line,) = left_out(graph, graph.context.experiment.arms)
        assert "leaves out: block grafting: " in line and "equally many cascades, got 3 and 2" in line

    def test_in_python_it_is_logged(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        caplog.set_level(logging.WARNING, logger="i2ikd")  # whatever other libraries have set in this process
        monkeypatch.setattr(logging.getLogger("i2ikd"), "disabled", False)
        networks = [i2ikd.create("model", "plain-cnn", depth=depth, channels=3) for depth in (4, 3)]
        before = {name: tensor.clone() for name, tensor in networks[1].state_dict().items()}
        data = [(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8))]
        result = i2ikd.distill(*networks, data, recipe="recommended", epochs=2, training={"lr": 1e-9})
        assert [row["stage"] for row in result.history] == ["target", "target"]
        (record,) = caplog.records
        assert "recipe 'recommended' leaves out: block grafting" in record.getMessage()
        assert not torch.equal(before["layers.0.convolution.weight"], result.student.layers[0].convolution.weight)


def test_recommended_grafts_groups_of_layers_of_super_resolution_networks(laboratory: Any) -> None:
    sizes = "depth = {}, channels = 3".format
    settings = (
        'task={name = "mri-sr", factor = 2}',
        "task.dataset={name='phantom', train=2, val=1, test=2, slices=2, size=[32, 32]}",
        f'teacher={{model = "vdsr", {sizes(5)}}}',
        f'student={{model = "vdsr", {sizes(4)}}}',
    )
    graph = laboratory.graph("training.epochs=3", *settings, arms=[{"name": "arm", "recipe": "recommended"}])
    history = laboratory.train(graph, "arm").folder.read("history")
    assert left_out(graph, graph.context.experiment.arms) == []
    assert [row["stage"] for row in history] == ["grafting", "target", "target"]
