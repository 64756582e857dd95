"""Imitation on unlabelled samples equals a loop over those drawn, and no other arm sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import i2ikd_schemes.unlabelled
import numpy as np
import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.unlabelled import UnlabelledImitation
from torch import Tensor
from torch.nn import functional as F

import i2ikd
from i2ikd import Batch, UserError, WeightSchedule
from i2ikd.experiment.checks import check

PHANTOM = {"name": "phantom", "train": 2, "val": 1, "test": 1, "slices": 2, "size": [32, 32]}
DATA = "task.unlabelled={name='phantom', train=3, slices=2, size=[32, 32], seed=9}"


@pytest.fixture
def task(drawn_once: None) -> Any:
    return i2ikd.create("task", "mri-recon", dataset=PHANTOM, unlabelled={**PHANTOM, "train": 3, "seed": 9})


@pytest.fixture
def labelled(task: Any) -> Batch:
    samples = task.dataset("train")
    return Batch.collate([samples[index] for index in range(2)])


def drawn(task: Any, indices: list[int]) -> Batch:
    samples = task.dataset("unlabelled")
    return Batch.collate([samples[index] for index in indices])


def apply(network: DCCNN, batch: Batch) -> Tensor:
    output: Tensor = network(batch.input, **batch.conditions)
    return output


@pytest.mark.parametrize("options", [{}, {"target": 0.5, "imitation": 0.25, "batch": 3}, {"target": 0.0}], ids=str)
def test_is_the_weighted_sum_over_both_batches(
    options: dict[str, Any],
    task: Any,
    labelled: Batch,
    teacher: DCCNN,
    student: DCCNN,
    context: Any,
    outputs_of: Any,
    take_gradients: Any,
    close: Any,
) -> None:
    objective = UnlabelledImitation(weight=0.7, **options)
    objective.setup(context(student, labelled, inputs={"teacher": teacher}, task=task))
    outputs = outputs_of(objective, teacher, labelled)
    torch.manual_seed(4)
    loss = objective(labelled, outputs)
    loss.total.backward()
    found = take_gradients(student)
    assert not take_gradients(teacher)

    torch.manual_seed(4)
    unlabelled = drawn(task, torch.randint(6, (options.get("batch", 2),)).tolist())
    with torch.no_grad():
        wanted, copied = apply(teacher, unlabelled), apply(teacher, labelled)
    output = apply(student, labelled)
    naive = 0.7 * F.l1_loss(apply(student, unlabelled), wanted)
    naive = naive + options.get("target", 1.0) * F.l1_loss(output, labelled.target)
    naive = naive + options.get("imitation", 0.0) * F.l1_loss(output, copied)
    naive.backward()
    assert loss.total.item() == pytest.approx(naive.item(), rel=1e-4)
    assert close(found, take_gradients(student))
    assert ("target" in loss.parts) is (options.get("target") != 0.0)


def test_the_weight_can_fade_and_the_teacher_runs_once_a_sample(
    task: Any, labelled: Batch, teacher: DCCNN, student: DCCNN, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    forward = DCCNN.forward

    def counted(network: DCCNN, *arguments: Any, **named: Any) -> Tensor:
        runs.extend([1] * (network is teacher))
        return forward(network, *arguments, **named)

    monkeypatch.setattr(DCCNN, "forward", counted)
    objective = UnlabelledImitation(weight=WeightSchedule(start=1, end=0, until=0.5))
    objective.setup(context(student, labelled, inputs={"teacher": teacher}, task=task))
    for epoch in range(20):
        objective.on_epoch_start(epoch, 40)
        objective(labelled, {})
    assert len(runs) <= 6
    objective.on_epoch_start(20, 40)
    assert set(objective(labelled, {}).parts) == {"target"}


def test_unlabelled_samples_have_no_target_and_are_another_dataset_s(task: Any) -> None:
    samples = task.dataset("unlabelled")
    assert len(samples) == 6 and all(samples[index].target is None for index in range(6))
    assert not torch.equal(samples[0].input, task.dataset("train")[0].input)
    assert task.identity() != i2ikd.create("task", "mri-recon", dataset=PHANTOM).identity()
    assert "unlabelled" not in i2ikd.create("task", "mri-recon", dataset=PHANTOM).identity()
    assert i2ikd.create("task", "mri-sr", dataset=PHANTOM, unlabelled=PHANTOM).dataset("unlabelled")[0].target is None


class TestInAnExperiment:
    ARMS = (
        {"name": "student"},
        {"name": "arm", "recipe": "unlabelled-imitation", "weight": {"start": 1.0, "end": 0.0, "until": 0.5}},
    )

    def test_steps_are_those_of_plain_training_and_the_control_does_not_depend_on_them(
        self, laboratory: Any, identical: Any, optimiser_steps: Any
    ) -> None:
        graph = laboratory.graph(DATA, arms=list(self.ARMS))
        check(graph, graph.context.experiment.arms)
        weights = laboratory.weights(laboratory.train(graph, "student"))
        assert optimiser_steps.count == 4
        laboratory.train(graph, "arm")
        assert optimiser_steps.count == 3 * 4, "the teacher's and the arm's"
        plain = laboratory.weights(laboratory.train(laboratory.graph(arms=list(self.ARMS), out="plain"), "student"))
        assert identical(weights, plain)

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("training.epochs=2", r"arm 'arm': mri-recon: expected unlabelled data, got none; set task\.unlabelled"),
            (DATA.replace("[32, 32]", "[48, 32]"), r"of the shape \[1, 32, 32\], got \[1, 48, 32\]; set one size"),
        ],
    )
    def test_missing_or_unfitting_data_is_refused_before_training(
        self, setting: str, message: str, laboratory: Any, optimiser_steps: Any
    ) -> None:
        graph = laboratory.graph(setting, arms=list(self.ARMS))
        with pytest.raises(UserError, match=message):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0

    def test_samples_of_several_sizes_are_refused_before_training(
        self, laboratory: Any, tmp_path: Path, optimiser_steps: Any
    ) -> None:
        for width in (32, 24):
            np.save(tmp_path / f"{width}.npy", np.random.default_rng(width).random((2, 32, width), np.float32))
        data = f"task.unlabelled={{name='folder', root='{tmp_path}', fractions=[1.0, 0.0, 0.0]}}"
        graph = laboratory.graph(data, arms=list(self.ARMS))
        with pytest.raises(UserError, match="expected unlabelled samples of one size, got 32 x 24, 32 x 32; set size"):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0

    def test_subjects_of_the_test_split_are_refused(self, laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(i2ikd_schemes.unlabelled, "SPLIT", "test")
        graph = laboratory.graph(DATA, arms=list(self.ARMS))
        with pytest.raises(
            UserError, match=r"in no other split, got 'phantom-test-000', which is in 'test' too; remove"
        ):
            check(graph, graph.context.experiment.arms)
