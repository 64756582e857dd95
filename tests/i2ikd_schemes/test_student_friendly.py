"""The student-friendly teacher equals a loop over branches that is written out; its student starts an arm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from i2ikd_schemes.student_friendly import StudentFriendly
from torch import Tensor

from i2ikd import Batch, UserError
from i2ikd.engine import checkpoint

RECIPE = 'teacher.recipe="student-friendly"'
STILL = {"lr": 1e-12, "optimizer": "sgd"}


def naive(teacher: DCCNN, student: DCCNN, batch: Batch, run_chain: Any) -> dict[str, Tensor]:
    output = run_chain([teacher] * 3, batch)[-1]
    branches = [run_chain([teacher] * k + [student] * (3 - k), batch)[-1] for k in range(3)]
    return {
        "target": (output - batch.target).abs().mean(),
        "branch": torch.stack([(image - batch.target).abs().mean() for image in branches]).mean(),
        "imitation": torch.stack([(image - output.detach()).abs().mean() for image in branches]).mean(),
    }


def test_is_target_branches_and_imitation(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any, run_chain: Any, take_gradients: Any, close: Any
) -> None:
    objective = StudentFriendly(branch=0.5, imitation=0.25)
    objective.setup(context(teacher, batch, side="teacher", build=lambda side: student))
    loss = objective(batch, {})
    loss.total.backward()
    found = take_gradients(teacher), take_gradients(student)

    parts = naive(teacher, student, batch, run_chain)
    (parts["target"] + 0.5 * parts["branch"] + 0.25 * parts["imitation"]).backward()
    for name, value in parts.items():
        assert loss.parts[name].item() == pytest.approx(value.item(), rel=1e-5)
    assert close(found[0], take_gradients(teacher))
    assert close(found[1], take_gradients(student))
    assert len(found[0]) == len(list(teacher.parameters()))
    assert len(found[1]) == len(list(student.parameters())), "also the first block of the student is trained"


def test_branches_reach_the_teacher_and_its_image_is_detached(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any, take_gradients: Any
) -> None:
    objective = StudentFriendly(branch=0, imitation=1)
    objective.setup(context(teacher, batch, side="teacher", build=lambda side: student))
    loss = objective(batch, {})
    (loss.total - objective.context.target_loss(teacher(batch.input, **batch.conditions), batch)).backward()
    found = take_gradients(teacher)
    largest = {k: max(t.abs().max().item() for name, t in found.items() if f"cascades.{k}." in name) for k in range(3)}
    assert largest[0] > 100 * largest[2] and largest[1] > 100 * largest[2], "no branch contains the last block"


def test_leaves_the_student_and_trains_its_parameters(
    teacher: DCCNN, student: DCCNN, batch: Batch, context: Any
) -> None:
    objective = StudentFriendly()
    objective.setup(context(teacher, batch, side="teacher", build=lambda side: student))
    assert objective.finish() == {"student": student}
    assert {id(p) for p in objective.trainable()} == {id(p) for p in student.parameters()}
    assert objective.needs == frozenset() and objective.builds == {"student"}
    assert objective.eval_network() is teacher


def test_an_arm_cannot_have_it(student: DCCNN, batch: Batch, context: Any) -> None:
    with pytest.raises(UserError, match=r"got its student's; set \[teacher\] recipe = \"student-friendly\""):
        StudentFriendly().setup(context(student, batch, build=lambda side: student))


def test_networks_with_unequal_images_between_their_blocks_are_refused(
    teacher: DCCNN, batch: Batch, context: Any
) -> None:
    pairs = [("cascades.*.layers.1", "cascades.*.layers.1")]
    objective = StudentFriendly(blocks=pairs)
    with pytest.raises(UserError, match=r"\[5, 12, 10\] -> \[5, 12, 10\] and \[4, 12, 10\] -> \[4, 12, 10\]"):
        objective.setup(context(teacher, batch, side="teacher", build=lambda side: DCCNN(3, 3, 4)))


class TestInAnExperiment:
    def arms(self, **start: Any) -> list[dict[str, Any]]:
        stage = {"name": "a", "terms": [{"distiller": "target"}], "epochs": 1, "training": STILL, "start": start}
        return [{"name": "arm", "recipe": "custom", "stages": [stage]}]

    def test_an_arm_goes_on_from_the_branches(self, laboratory: Any) -> None:
        graph = laboratory.graph(RECIPE, arms=self.arms(**{"from": "teacher", "network": "student"}))
        weights = laboratory.weights(laboratory.train(graph, "arm"))
        teacher = graph.teacher_run(0)
        left = checkpoint.load(teacher.folder.left("student"))["state"]
        assert left.keys() == weights.keys()
        assert all(torch.allclose(left[name], weights[name], atol=1e-6) for name in left)
        losses = teacher.folder.read("history")[-1]["losses"]
        assert losses["total"] == pytest.approx(losses["target"] + losses["branch"] + losses["imitation"], rel=1e-5)

    def test_the_teacher_depends_on_the_student_that_it_was_trained_with(self, laboratory: Any) -> None:
        def digest(*overrides: str) -> str:
            return str(laboratory.graph(*overrides).teacher_run(0).specification.digest)

        assert digest(RECIPE) != digest(RECIPE, "student.depth=2")
        assert digest() == digest("student.depth=2")
