"""Frozen modules, start weights from input networks, and training transforms, in runs of the tiny experiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import i2ikd
from i2ikd import UserError
from i2ikd.engine import checkpoint
from i2ikd.engine.build import build_network
from i2ikd.engine.loop import Interrupted
from i2ikd.engine.run import load_network
from i2ikd.experiment.checks import check
from i2ikd.network import apply
from i2ikd.sample import Batch
from i2ikd.transform import Transform

TARGET = {"distiller": "target"}
FIRST = "cascades.*.layers.0"


def custom(*stages: dict[str, Any], **arm: Any) -> list[dict[str, Any]]:
    stated = [{"terms": [TARGET], "name": f"s{index}", **stage} for index, stage in enumerate(stages)]
    return [{"name": "arm", "recipe": "custom", "stages": stated, **arm}]


def initial(graph: Any) -> dict[str, Tensor]:
    """The weights that the arm's network starts with."""
    specification = graph.arm_run(graph.context.experiment.arm("arm"), 0).specification
    network = build_network(graph.context.registry, specification.model, specification.options, 0, "arm")
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def unchanged(left: dict[str, Tensor], right: dict[str, Tensor]) -> set[str]:
    return {name for name in left if torch.equal(left[name], right[name])}


class Normalised(nn.Module):
    """Two convolutions with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1))

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(input))
        return output


FROZEN = {f"cascades.{i}.layers.0.convolution.{name}" for i in (0, 1) for name in ("weight", "bias")}


class TestFreeze:
    @pytest.mark.parametrize("change", ["training.ema=0.5", "training.weight_decay=0.1", "training.optimizer=adamw"])
    def test_frozen_parameters_end_as_they_began(self, change: str, laboratory: Any) -> None:
        graph = laboratory.graph(change, arms=custom({"freeze": [FIRST]}))
        before = initial(graph)
        assert unchanged(before, laboratory.weights(laboratory.train(graph, "arm"))) == FROZEN

    def test_running_statistics_stay_as_they_are(self, laboratory: Any) -> None:
        network = f"model='import:{__name__}:Normalised'"
        validated = "training.validate_every=1"
        stages = custom({"freeze": ["first"], "epochs": 2}, {"epochs": 1})
        changed = {}
        for name, arms in (("frozen", [{**stages[0], "stages": stages[0]["stages"][:1]}]), ("both", stages)):
            graph = laboratory.graph(f"teacher={{{network}}}", f"student={{{network}}}", validated, arms=arms, out=name)
            before = initial(graph)
            changed[name] = set(before) - unchanged(before, laboratory.weights(laboratory.train(graph, "arm")))
        second = {f"second.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
        assert second < changed["frozen"] and not any(name.startswith("first") for name in changed["frozen"])
        assert {f"first.1.{name}" for name in ("running_mean", "weight")} < changed["both"]

    def test_the_next_stage_trains_them_again(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=custom({"freeze": [FIRST]}, {}))
        before = initial(graph)
        assert unchanged(before, laboratory.weights(laboratory.train(graph, "arm"))) == set()

    def test_an_interrupted_stage_goes_on_frozen(
        self, laboratory: Any, stop: Any, again_and_again: Any, identical: Any
    ) -> None:
        arms = custom({"freeze": [FIRST]}, {"freeze": ["cascades.1.*.*"]}, {})
        whole = laboratory.train(laboratory.graph(arms=arms, out="whole"), "arm")

        def work(callback: Any) -> None:
            laboratory.train(laboratory.graph(arms=arms, out="parts"), "arm", callback=callback)

        assert again_and_again(work, lambda: stop(steps=1)) == 2 * 6
        parts = laboratory.train(laboratory.graph(arms=arms, out="parts"), "arm")
        assert identical(laboratory.weights(parts), laboratory.weights(whole))

    @pytest.mark.parametrize(
        ("freeze", "message"),
        [
            (["cascades.7"], r"'cascades\.7' matches no module of the trained network"),
            (["cascades"], r"\(arm 'arm'\), stage 's0': expected parameters to train, got none"),
        ],
    )
    def test_what_cannot_be_is_refused_before_training(
        self, freeze: list[str], message: str, laboratory: Any, optimiser_steps: Any
    ) -> None:
        graph = laboratory.graph(arms=custom({"freeze": freeze}))
        with pytest.raises(UserError, match=message):
            check(graph, graph.context.experiment.arms)
        with pytest.raises(UserError, match=r"matches no module|expected parameters to train"):
            laboratory.train(graph, "arm")
        assert optimiser_steps.count == 0


class Layers:
    """A plugin that registers corresponding layers of two DC-CNNs: the first and the last of each cascade."""

    @i2ikd.hookimpl
    def register_pairs(self, register: Any) -> None:
        def ends(teacher: nn.Module, student: nn.Module) -> list[tuple[str, str]]:
            return [("cascades.*.layers.0", "cascades.*.layers.0"), ("cascades.*.layers.3", "cascades.*.layers.2")]

        register("ends", ends, teacher="dc-cnn", student="dc-cnn", tap_kind="layers")


class TestStart:
    """Copied layers are frozen, so that they can be read from the finished weights."""

    PAIRS: ClassVar = [[FIRST, FIRST], ["cascades.*.layers.3", "cascades.*.layers.2"]]
    COPIED: ClassVar = [FIRST, "cascades.*.layers.2"]

    def layers(self, graph: Any, laboratory: Any) -> None:
        student = laboratory.weights(laboratory.train(graph, "arm"))
        teacher = laboratory.weights(graph.teacher_run(0))
        for cascade in (0, 1):
            for theirs, ours in ((0, 0), (3, 2)):
                for name in ("weight", "bias"):
                    left = teacher[f"cascades.{cascade}.layers.{theirs}.convolution.{name}"]
                    assert torch.equal(student[f"cascades.{cascade}.layers.{ours}.convolution.{name}"], left)

    def test_a_map_copies_layer_by_layer(self, laboratory: Any) -> None:
        arms = custom({"start": {"from": "teacher", "map": self.PAIRS}, "freeze": self.COPIED})
        self.layers(laboratory.graph(arms=arms), laboratory)

    def test_without_a_map_the_registered_layers_are_copied(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=custom({"start": "teacher", "freeze": self.COPIED}), plugins=(Layers(),))
        self.layers(graph, laboratory)

    def test_a_map_that_does_not_fit_is_refused_before_training(self, laboratory: Any, optimiser_steps: Any) -> None:
        pairs = [["cascades.*.layers.1", "cascades.*.layers.2"]]
        graph = laboratory.graph(arms=custom({"start": {"from": "teacher", "map": pairs}}))
        with pytest.raises(
            UserError, match=r"the stage 's0': expected .* to have one shape, got \[4, 4, 3, 3\] and \[1"
        ):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0

    def test_a_role_that_the_arm_lacks_is_refused(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=custom({"start": "beginning"}))
        with pytest.raises(UserError, match=r"needs an input 'beginning'; set inputs\.beginning to the name of an arm"):
            check(graph, graph.context.experiment.arms)


class Halves(nn.Module):
    """A tensor as the sum of two: a linear over-parameterisation."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first + second

    def right_inverse(self, total: Tensor) -> tuple[Tensor, Tensor]:
        return 0.75 * total, 0.25 * total


class Overparameterise(Transform):
    """Trains every kernel as a sum of two tensors."""

    when: ClassVar = "training"

    def apply(self, network: nn.Module, batches: Iterable[Any], task: Any) -> nn.Module:
        for module in list(network.modules()):
            if isinstance(module, nn.Conv2d):
                parametrize.register_parametrization(module, "weight", Halves())
        return network

    def fold(self, network: nn.Module) -> nn.Module:
        for module in list(network.modules()):
            if parametrize.is_parametrized(module):
                parametrize.remove_parametrizations(module, "weight")
        return network


class Wide:
    """A plugin with the transform; it keeps what the network returned when its last stage ended."""

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.image: Tensor | None = None
        self.tensors: set[str] = set()

    @i2ikd.hookimpl
    def register_transforms(self, register: Any) -> None:
        register("halves", Overparameterise)

    @i2ikd.hookimpl
    def stage_ended(self, context: Any) -> None:
        network = context.run.network.eval()
        self.tensors = set(network.state_dict())
        if self.batch is not None:
            with torch.no_grad():
                self.image = apply(network, self.batch)


class TestTrainingTransforms:
    ARMS: ClassVar = [
        {"name": "plain"},
        {"name": "wide", "transforms": ["halves"]},
        {"name": "restart", "transforms": ["halves"], "recipe": "custom", "stages": [
            {"name": "a", "terms": [TARGET], "training": {"ema": 0.5}},
            {"name": "b", "terms": [TARGET], "start": "fresh"},
            {"name": "c", "terms": [TARGET], "start": {"from": "teacher", "map": [[FIRST, FIRST]]}},
        ]},
    ]  # fmt: skip

    def graph(self, laboratory: Any, out: str = "out", plugin: Any = None) -> Any:
        return laboratory.graph(arms=self.ARMS, out=out, plugins=(plugin or Wide(),))

    def test_the_folded_network_computes_the_same(self, laboratory: Any) -> None:
        plugin = Wide()
        graph = self.graph(laboratory, plugin=plugin)
        plugin.batch = graph.context.example()
        run = laboratory.train(graph, "wide")
        assert any("parametrizations" in name for name in plugin.tensors)
        assert not any("parametrizations" in name for name in laboratory.weights(run))
        assert plugin.image is not None
        network = load_network(graph.context.registry, run.folder)
        with torch.no_grad():
            torch.testing.assert_close(apply(network, plugin.batch), plugin.image, rtol=1e-5, atol=1e-5)

    def test_its_weights_fit_a_plain_build_and_differ_from_plain_training(
        self, laboratory: Any, identical: Any
    ) -> None:
        graph = self.graph(laboratory)
        plain, wide = (laboratory.train(graph, name) for name in ("plain", "wide"))
        assert wide.specification.transforms == [{"name": "halves"}] and plain.specification.transforms == []
        assert laboratory.weights(wide).keys() == laboratory.weights(plain).keys()
        assert not identical(laboratory.weights(wide), laboratory.weights(plain))
        losses = [run.folder.read("history")[0]["losses"]["target"] for run in (plain, wide)]
        assert losses[0] == pytest.approx(losses[1], rel=0.1), "both start from one initialisation"

    @pytest.mark.parametrize("arm", ["wide", "restart"])
    def test_an_interrupted_run_goes_on(
        self, arm: str, laboratory: Any, stop: Any, again_and_again: Any, identical: Any
    ) -> None:
        whole = laboratory.train(self.graph(laboratory, "whole"), arm)

        def work(callback: Any) -> None:
            laboratory.train(self.graph(laboratory, "parts"), arm, callback=callback)

        assert again_and_again(work, lambda: stop(steps=1)) > 0
        parts = laboratory.train(self.graph(laboratory, "parts"), arm)
        assert parts.folder.read("history") == whole.folder.read("history")
        assert identical(laboratory.weights(parts), laboratory.weights(whole))

    def test_the_check_applies_it(self, laboratory: Any) -> None:
        graph = self.graph(laboratory)
        check(graph, graph.context.experiment.arms)

    def test_its_checkpoint_has_the_tensors_that_are_trained(self, laboratory: Any, stop: Any) -> None:
        graph = self.graph(laboratory)
        with pytest.raises(Interrupted):
            laboratory.train(graph, "wide", callback=stop(steps=1))
        (path,) = (laboratory.folder / "out" / "store").glob("*/checkpoint.pt")
        assert any("original1" in name for name in checkpoint.load(path)["trainer"]["network"])

    def test_a_component_that_is_none_is_refused(self, laboratory: Any) -> None:
        class Odd:
            @i2ikd.hookimpl
            def register_transforms(self, register: Any) -> None:
                register("odd", lambda: 3)

        graph = laboratory.graph(arms=[{"name": "arm", "transforms": ["odd"]}], plugins=(Odd(),))
        with pytest.raises(UserError, match=r"expected the transform 'odd' to be an i2ikd\.Transform, got int"):
            check(graph, graph.context.experiment.arms)
