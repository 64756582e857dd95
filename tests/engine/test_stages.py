"""Stages: which weights they start from, settings of their own, ratios, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import i2ikd
from i2ikd import UserError
from i2ikd.config import Training
from i2ikd.engine.plan import plan_stages
from i2ikd.experiment.checks import check
from i2ikd.recipe import Stage

TARGET = {"distiller": "target"}
FROZEN = {"lr": 1e-12, "optimizer": "sgd"}


def custom(*stages: dict[str, Any], **student: Any) -> list[dict[str, Any]]:
    return [{"name": "arm", "recipe": "custom", "stages": list(stages), "student": student}]


def plan(*stages: dict[str, Any], **settings: Any) -> Any:
    return plan_stages([Stage.model_validate(stage) for stage in stages], Training(**settings), "arm 'x'")


class TestPlan:
    def test_a_stage_changes_settings_for_itself(self) -> None:
        first, second = plan(
            {"name": "a", "terms": [TARGET], "training": {"lr": 0.5, "ema": 0.9}},
            {"name": "b", "terms": [TARGET], "epochs": 7},
            epochs=3,
            lr=0.25,
        )
        assert (first.training.lr, first.training.ema, first.epochs) == (0.5, 0.9, 3)
        assert (second.training.lr, second.training.ema, second.epochs) == (0.25, None, 7)

    @pytest.mark.parametrize(
        ("training", "message"),
        [
            ({"batch": 8}, "stage 'a': batch is the same for the whole experiment; set training.batch"),
            ({"precision": "bf16"}, "precision is the same for the whole experiment"),
            ({"leaning_rate": 1}, "there is no setting training.leaning_rate"),
            ({"optimiser": "sgd"}, "there is no setting training.optimiser; did you mean 'optimizer'"),
            ({"lr": -1}, "lr = -1: should be greater than 0"),
        ],
    )
    def test_what_it_cannot_change_is_refused(self, training: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError) as caught:
            plan({"name": "a", "terms": [TARGET], "training": training})
        assert message in str(caught.value)

    def test_nothing_to_train_is_refused(self) -> None:
        with pytest.raises(UserError, match="arm 'x': every term has weight 0"):
            plan({"name": "a", "terms": [{"distiller": "target", "weight": 0}]})

    def test_two_stages_of_one_name_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"two stages have one name \(a, a\)"):
            plan({"name": "a", "terms": [TARGET]}, {"name": "a", "terms": [TARGET]})

    @pytest.mark.parametrize(
        "setting",
        ["batch=4", 'augmentations=["flip"]', 'precision="bf16"', 'device="cpu"', "cache_mib=1", "cache_disk_mib=1"],
    )
    @pytest.mark.parametrize("side", ["teacher", "student"])
    def test_a_network_cannot_change_what_all_share(self, side: str, setting: str, laboratory: Any) -> None:
        """It would be written into the run's settings and not be done."""
        graph = laboratory.graph(f"{side}.training.{setting}")
        with pytest.raises(UserError, match="is the same for the whole experiment"):
            check(graph, graph.context.experiment.arms)

    def test_a_teacher_may_have_epochs_and_a_rate_of_its_own(self, laboratory: Any) -> None:
        graph = laboratory.graph("teacher.training.epochs=5", "teacher.training.lr=0.125")
        (stage,) = graph.teacher_run(0).stages
        assert (stage.epochs, stage.training.lr) == (5, 0.125)
        assert graph.arm_run(graph.context.experiment.arms[0], 0).stages[0].epochs == 2


class TestStart:
    def test_previous_is_a_fresh_student_at_first(self, laboratory: Any, identical: Any) -> None:
        stage = {"name": "a", "terms": [TARGET], "epochs": 1, "training": FROZEN}
        ours = laboratory.train(laboratory.graph(arms=custom(stage)), "arm")
        fresh = custom({**stage, "start": "fresh"})
        theirs = laboratory.train(laboratory.graph(arms=fresh), "arm")
        assert ours.folder != theirs.folder
        assert identical(laboratory.weights(ours), laboratory.weights(theirs))

    def test_fresh_forgets_the_stage_before(self, laboratory: Any, identical: Any) -> None:
        last = {"name": "b", "terms": [TARGET], "epochs": 1, "start": "fresh", "training": FROZEN}
        arms = custom({"name": "a", "terms": [TARGET], "training": {"lr": 0.1}}, last)
        both = laboratory.train(laboratory.graph(arms=arms), "arm")
        alone = laboratory.train(laboratory.graph(arms=custom(last)), "arm")
        assert identical(laboratory.weights(both), laboratory.weights(alone))

    def test_teacher_copies_the_layers_that_fit(self, laboratory: Any) -> None:
        stage = {"name": "a", "terms": [TARGET], "epochs": 1, "start": "teacher", "training": FROZEN}
        graph = laboratory.graph(arms=custom(stage))
        student = laboratory.weights(laboratory.train(graph, "arm"))
        teacher = laboratory.weights(graph.teacher_run(0))
        same = "cascades.1.layers.0.convolution.weight"
        assert torch.allclose(student[same], teacher[same], atol=1e-6)
        last = "cascades.1.layers.2.convolution.weight"
        assert student[last].shape != teacher[last].shape, "4 -> 1 in the student, 4 -> 4 in the teacher"

    def test_a_teacher_without_a_layer_that_fits_is_refused_before_it_is_trained(
        self, laboratory: Any, optimiser_steps: Any
    ) -> None:
        stage = {"name": "a", "terms": [TARGET], "start": "teacher"}
        student = "student={model='plain-cnn', channels=3, depth=2}"
        graph = laboratory.graph(student, arms=custom(stage))
        with pytest.raises(UserError, match="the stage 'a': the two networks share no layer of equal name and shape"):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0


class Scaled:
    """A term that is a multiple of the task's own loss, with or without a teacher."""

    def __init__(self, teacher: bool) -> None:
        self.teacher = teacher

    @i2ikd.hookimpl
    def register_distillers(self, register: Any) -> None:
        teacher = self.teacher

        class Multiple(i2ikd.Distiller):
            uses_taps = False
            uses_teacher = teacher

            def __init__(self, factor: float = 1.0) -> None:
                super().__init__()
                self.factor = factor

            def knowledge(self, teacher: Any, batch: Any) -> Any:
                return {}

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                return self.factor * (student.image() - batch.target).abs().mean()

        register("multiple", Multiple)


class TestRatio:
    @pytest.mark.parametrize("teacher", [True, False], ids=["with a teacher", "without"])
    def test_it_becomes_the_weight_that_makes_the_term_that_share(self, teacher: bool, laboratory: Any) -> None:
        """40 times the task's loss at a ratio of 0.3 is a weight of 0.3 / 40."""
        seen = {}

        class Probe:
            @i2ikd.hookimpl
            def epoch_ended(self, context: Any) -> None:
                seen[context.stage.run.name, context.epoch] = context.losses

        arms = [{"name": "arm", "recipe": "joint", "distiller": {"name": "multiple", "factor": 40.0}, "ratio": 0.3}]
        graph = laboratory.graph(arms=arms, plugins=(Scaled(teacher), Probe()))
        laboratory.train(graph, "arm")
        for epoch in range(2):
            losses = seen["students/arm/seed0", epoch]
            assert losses["multiple"] == pytest.approx(40 * losses["target"], rel=1e-4)
            assert losses["total"] == pytest.approx(1.3 * losses["target"], rel=1e-4)

    @pytest.mark.parametrize("factor", [0.0, -2.0, float("nan")])
    def test_of_a_term_that_is_not_positive_is_refused(self, factor: float, laboratory: Any) -> None:
        arms = [{"name": "arm", "recipe": "joint", "distiller": {"name": "multiple", "factor": factor}, "ratio": 1}]
        graph = laboratory.graph(arms=arms, plugins=(Scaled(True),))
        with pytest.raises(
            UserError, match=r"'multiple' cannot be given as a ratio: its loss at the start is .*; use weight"
        ):
            laboratory.train(graph, "arm")


def test_two_terms_of_one_kind_have_names_of_their_own(laboratory: Any) -> None:
    terms = [TARGET, {"distiller": {"name": "imitation", "loss": "mse"}}, {"distiller": "imitation", "weight": 0.5}]
    run = laboratory.train(laboratory.graph(arms=custom({"name": "a", "terms": terms})), "arm")
    losses = run.folder.read("history")[0]["losses"]
    assert list(losses) == ["total", "target", "imitation-1", "imitation-2"]
    assert losses["total"] == pytest.approx(losses["target"] + losses["imitation-1"] + 0.5 * losses["imitation-2"])


def test_own_parameters_of_a_distiller_are_trained_and_not_exported(laboratory: Any) -> None:
    adapters: dict[str, Any] = {}

    class Probe:
        @i2ikd.hookimpl
        def register_distillers(self, register: Any) -> None:
            class Adapted(i2ikd.Distiller):
                def build(self, pairs: Any) -> None:
                    self.adapters = torch.nn.ModuleList(torch.nn.Conv2d(p.student[0], p.teacher[0], 1) for p in pairs)
                    adapters.setdefault("before", self.adapters[0].weight.detach().clone())

                def knowledge(self, teacher: Any, batch: Any) -> Any:
                    return {str(i): tap for i, tap in enumerate(teacher.taps)}

                def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                    adapters["after"] = self.adapters[0].weight.detach().clone()
                    pairs = zip(self.adapters, student.taps, knowledge.values(), strict=True)
                    return {"loss": sum((a(s) - t).square().mean() for a, s, t in pairs), "count": torch.tensor(2.0)}

            register("adapted", Adapted)

    arms = [{"name": "arm", "recipe": "joint", "distiller": "adapted", "student": {"channels": 3}}]
    run = laboratory.train(laboratory.graph(arms=arms, plugins=(Probe(),)), "arm")
    assert adapters["before"].shape == (4, 3, 1, 1)
    assert not torch.equal(adapters["before"], adapters["after"])
    assert not any("adapter" in name for name in laboratory.weights(run))
    assert run.folder.read("history")[0]["losses"]["adapted/count"] == 2


def test_a_recipe_that_gives_no_stages_is_refused(laboratory: Any) -> None:
    class Odd:
        @i2ikd.hookimpl
        def register_recipes(self, register: Any) -> None:
            register("odd", lambda: ["a stage"])

    graph = laboratory.graph(arms=[{"name": "arm", "recipe": "odd"}], plugins=(Odd(),))
    with pytest.raises(
        UserError, match=r"arm 'arm': expected the recipe 'odd' to return a list of i2ikd\.Stage, got list"
    ):
        check(graph, graph.context.experiment.arms)
