"""Scores of transformed networks: rows without training, kept apart from the network that they are of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

import i2ikd
from i2ikd import UserError
from i2ikd.experiment.checks import check
from i2ikd.experiment.compare import compare
from i2ikd.transform import Transform


class Blend(nn.Module):
    """A share of a network's output, the rest of its input."""

    def __init__(self, network: nn.Module, share: float) -> None:
        super().__init__()
        self.network, self.share = network, share

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        output: Tensor = self.network(input, **conditions)
        return self.share * output + (1 - self.share) * input


class Weaken(Transform):
    """Blends a trained network with its input."""

    seen: list[int] = []  # noqa: RUF012

    def __init__(self, share: float = 0.0) -> None:
        self.share = share

    def apply(self, network: nn.Module, batches: Iterable[Any], task: Any) -> nn.Module:
        self.seen.append(sum(len(batch) for batch in batches))
        return Blend(network, self.share)


class Plugin:
    @i2ikd.hookimpl
    def register_transforms(self, register: Any) -> None:
        register("weaken", Weaken)


ARMS = [
    {"name": "student"},
    {"name": "none", "of": "student", "transforms": ["weaken"]},
    {"name": "half", "of": "student", "transforms": [{"name": "weaken", "share": 0.5}]},
    {"name": "own", "transforms": [{"name": "weaken", "share": 1.0}]},
]


def made(laboratory: Any, *overrides: str, arms: Any = None) -> Any:
    graph = laboratory.graph(*overrides, arms=arms or ARMS, plugins=(Plugin(),))
    return compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)


def scores(comparison: Any, arm: str) -> list[dict[str, float]]:
    return [record.scores for record in comparison.records if record.arm == arm]


def test_a_row_of_another_arm_is_not_trained(laboratory: Any, optimiser_steps: Any) -> None:
    made(laboratory)
    assert optimiser_steps.count == 2 * 4, "the teacher and one student"
    graph = laboratory.graph(arms=ARMS, plugins=(Plugin(),))
    runs = {str(arm["name"]): graph.arm_run(graph.context.experiment.arm(str(arm["name"])), 0) for arm in ARMS}
    assert runs["none"].folder == runs["half"].folder == runs["student"].folder
    assert runs["own"].folder == runs["student"].folder, "a trained transform is no part of the training"


def test_its_scores_are_those_of_the_transformed_network(laboratory: Any) -> None:
    comparison = made(laboratory, "task.input=magnitude")  # the input is then the zero-filled row's image
    baseline, none = scores(comparison, "zero-filled"), scores(comparison, "none")
    for left, right in zip(baseline, none, strict=True):
        assert left == pytest.approx(right, rel=1e-5), "with share 0 it returns its input"
    for left, right in zip(scores(comparison, "student"), scores(comparison, "own"), strict=True):
        assert left == pytest.approx(right, rel=1e-5), "with share 1 it is the student"
    psnr = {
        arm: np.mean([s["psnr-volume-max"] for s in scores(comparison, arm)]) for arm in ("student", "none", "half")
    }
    assert len(set(psnr.values())) == 3


def test_kept_scores_are_apart(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made(laboratory)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr("i2ikd.experiment.scores.evaluate_network", refuse)
    assert made(laboratory).records == first.records


def test_other_options_are_scored_anew(laboratory: Any) -> None:
    before, after = made(laboratory), made(laboratory, "arms.half.transforms=[{name='weaken', share=0.25}]")
    assert scores(before, "half") != scores(after, "half")
    for arm in ("student", "none", "own"):
        assert scores(before, arm) == scores(after, arm)


def test_calibration_batches_are_of_the_training_split(laboratory: Any) -> None:
    Weaken.seen.clear()
    made(laboratory, arms=ARMS[:2])
    assert set(Weaken.seen) == {4}, "all four training slices"


def test_the_teachers_row_has_its_own_transforms(laboratory: Any) -> None:
    comparison = made(
        laboratory,
        "task.input=magnitude",
        "teacher.transforms=['weaken']",
        arms=[{"name": "kd", "recipe": "imitation"}],
    )
    for left, right in zip(scores(comparison, "zero-filled"), scores(comparison, "teacher"), strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    plain = laboratory.graph("task.input=magnitude", arms=[{"name": "kd", "recipe": "imitation"}])
    assert plain.arm_run(plain.context.experiment.arms[0], 0).folder.finished, "its students learn from it as trained"


@pytest.mark.parametrize(
    ("transforms", "message"),
    [(["weeken"], "unknown transform 'weeken'; did you mean 'weaken'"), ([{"name": "weaken", "shar": 1}], "'share'")],
)
def test_a_wrong_one_is_refused_before_training(
    transforms: Any, message: str, laboratory: Any, optimiser_steps: Any
) -> None:
    arms = [{"name": "student"}, {"name": "arm", "of": "student", "transforms": transforms}]
    graph = laboratory.graph(arms=arms, plugins=(Plugin(),))
    with pytest.raises(UserError, match=message):
        check(graph, graph.context.experiment.arms)
    assert optimiser_steps.count == 0


def test_another_number_of_simulated_test_subjects_is_scored_without_training(
    laboratory: Any, optimiser_steps: Any
) -> None:
    made(laboratory)
    steps = optimiser_steps.count
    comparison = made(laboratory, "task.dataset.test=3")
    assert optimiser_steps.count == steps
    assert len({record.subject for record in comparison.records if record.arm == "student"}) == 3
