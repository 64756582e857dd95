"""The weighted sum of distillers: schedules of weights, and samples without a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import i2ikd
from i2ikd import Sample, SampleDataset, SampleKey, Task, UserError
from i2ikd.engine.build import build_network
from i2ikd.engine.run import load_network
from i2ikd.experiment.compare import compare

TARGET = {"distiller": "target"}


def imitation(start: float, end: float, until: float = 1.0) -> dict[str, Any]:
    return {"distiller": "imitation", "weight": {"start": start, "end": end, "until": until}}


def custom(*terms: dict[str, Any], name: str = "arm") -> dict[str, Any]:
    return {"name": name, "recipe": "custom", "stages": [{"name": "all", "terms": list(terms)}]}


class TestSchedules:
    def test_the_weight_of_every_epoch_is_in_the_total(self, laboratory: Any) -> None:
        arms = [custom(TARGET, imitation(2.0, 0.5, until=0.5))]
        run = laboratory.train(laboratory.graph("training.epochs=4", arms=arms), "arm")
        losses = [row["losses"] for row in run.folder.read("history")]
        found = [(row["total"] - row["target"]) / row["imitation"] for row in losses]
        assert found == pytest.approx([2.0, 1.25, 0.5, 0.5], rel=1e-4)

    def test_always_0_is_plain_training(self, laboratory: Any, identical: Any, optimiser_steps: Any) -> None:
        arms = [custom(TARGET, name="plain"), custom(TARGET, imitation(0, 0))]
        graph = laboratory.graph("training.epochs=10", arms=arms)
        scheduled = laboratory.train(graph, "arm")
        assert optimiser_steps.count == 20, "no teacher is trained for it either"
        assert scheduled.specification.inputs == {}
        assert identical(laboratory.weights(scheduled), laboratory.weights(laboratory.train(graph, "plain")))

    def test_a_schedule_that_is_constant_is_a_number(self, laboratory: Any, identical: Any) -> None:
        arms = [
            custom(TARGET, imitation(0.7, 0.7), name="scheduled"),
            custom(TARGET, {"distiller": "imitation", "weight": 0.7}, name="number"),
        ]
        graph = laboratory.graph(arms=arms)
        assert identical(*(laboratory.weights(laboratory.train(graph, arm["name"])) for arm in arms))


class Images(SampleDataset):
    """Four images of noise; of a split without labels, or of some of its samples, the target is missing."""

    def __init__(self, split: str, unlabelled: Sequence[int]) -> None:
        self._split, self._unlabelled = split, unlabelled

    @property
    def keys(self) -> Sequence[SampleKey]:
        return [SampleKey(volume=self._split, index=index) for index in range(4)]

    def sample(self, index: int, seed: int | None) -> Sample:
        generator = torch.Generator().manual_seed(index)
        image, target = (torch.rand(1, 8, 12, generator=generator) for _ in range(2))
        return Sample(image, None if index in self._unlabelled else target, {}, self.keys[index])


class Sparse(Task):
    """Denoising with few targets."""

    def __init__(self, unlabelled: dict[str, list[int]]) -> None:
        self._unlabelled = unlabelled

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        return Images(split, self._unlabelled.get(split, []))

    def identity(self) -> dict[str, Any]:
        return {"unlabelled": self._unlabelled}


class SparsePlugin:
    @i2ikd.hookimpl
    def register_tasks(self, register: Any) -> None:
        register("sparse", Sparse)


NETWORKS = [f"{side}={{model='plain-cnn', depth=2, channels=3}}" for side in ("teacher", "student")]


def sparse(laboratory: Any, arms: list[dict[str, Any]], *overrides: str, **unlabelled: list[int]) -> Any:
    task = ", ".join(f"{split}={indices}" for split, indices in unlabelled.items())
    changes = [f"task={{name='sparse', unlabelled={{{task}}}}}", *NETWORKS, "training.batch=4", "training.epochs=1"]
    return laboratory.graph(*changes, *overrides, arms=arms, plugins=(SparsePlugin(),))


class TestUnlabelled:
    @pytest.mark.parametrize("unlabelled", [[0], [1, 3], [0, 1, 2]])
    def test_the_target_counts_labelled_samples_and_the_imitation_all(
        self, unlabelled: list[int], laboratory: Any
    ) -> None:
        """One batch is one epoch, so the history has the losses of the initial student."""
        graph = sparse(laboratory, [{"name": "arm", "recipe": "imitation"}], train=unlabelled)
        run = laboratory.train(graph, "arm")
        images = [Images("train", []).sample(index, None) for index in range(4)]
        student = build_network(graph.context.registry, "plain-cnn", run.specification.options, 0, "x")
        teacher = load_network(graph.context.registry, graph.teacher_run(0).folder)
        with torch.no_grad():
            outputs = [(student(s.input[None])[0], teacher(s.input[None])[0], s.target) for s in images]
        target = [F.l1_loss(ours, x) for i, (ours, _, x) in enumerate(outputs) if x is not None and i not in unlabelled]
        copied = [F.l1_loss(ours, theirs) for ours, theirs, _ in outputs]
        losses = run.folder.read("history")[0]["losses"]
        assert losses["target"] == pytest.approx(float(sum(target) / len(target)), rel=1e-5)
        assert losses["imitation"] == pytest.approx(float(sum(copied) / 4), rel=1e-5)
        assert losses["total"] == pytest.approx(0.5 * losses["target"] + 0.5 * losses["imitation"], rel=1e-5)

    def test_without_any_label_the_target_is_0_and_the_imitation_trains(self, laboratory: Any) -> None:
        given = laboratory.train(sparse(laboratory, [{"name": "student"}]), "student").folder.path
        arm = [{"name": "arm", "recipe": "imitation"}]
        graph = sparse(laboratory, arm, f"teacher.weights={given}", train=[0, 1, 2, 3])
        run = laboratory.train(graph, "arm")
        losses = run.folder.read("history")[0]["losses"]
        assert losses["target"] == 0 and losses["imitation"] > 0
        before = build_network(graph.context.registry, "plain-cnn", run.specification.options, 0, "x").state_dict()
        assert all(not torch.equal(tensor, before[name]) for name, tensor in laboratory.weights(run).items())

    def test_a_ratio_is_calibrated_on_the_labelled_samples(self, laboratory: Any) -> None:
        terms = [TARGET, {"distiller": "imitation", "ratio": 0.25}]
        graph = sparse(laboratory, [custom(*terms)], train=[0, 3])
        losses = laboratory.train(graph, "arm").folder.read("history")[0]["losses"]
        assert losses["total"] == pytest.approx(1.25 * losses["target"], rel=1e-5)

    def test_a_ratio_without_any_label_is_refused(self, laboratory: Any) -> None:
        given = laboratory.train(sparse(laboratory, [{"name": "student"}]), "student").folder.path
        arms = [custom({"distiller": "imitation", "ratio": 0.25})]
        graph = sparse(laboratory, arms, f"teacher.weights={given}", train=[0, 1, 2, 3])
        with pytest.raises(
            UserError, match="expected samples with a target in the first 1 batches to calibrate a ratio"
        ):
            laboratory.train(graph, "arm")

    def test_validation_without_a_target_is_refused(self, laboratory: Any) -> None:
        graph = sparse(laboratory, [{"name": "arm"}], val=[2])
        with pytest.raises(UserError, match=r"validation: expected a target for every sample, got none for val\[2\]"):
            laboratory.train(graph, "arm")

    def test_evaluation_without_a_target_is_refused_before_training(
        self, laboratory: Any, optimiser_steps: Any
    ) -> None:
        graph = sparse(laboratory, [{"name": "arm"}], test=[1])
        with pytest.raises(UserError, match=r"evaluation: expected a target for every sample, got none for test\[1\]"):
            compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
        assert optimiser_steps.count == 0
