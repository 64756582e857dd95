"""What a teacher said is kept where that is right, and asked anew where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import i2ikd
from i2ikd.config import Arm
from i2ikd.engine.run import load_network, train_runs
from i2ikd.experiment.schedule import train_teacher
from i2ikd.experiment.training import RunTrainer

SAMPLES, STEPS = 4, 2
SGD = ("training.epochs=3", "training.optimizer=sgd", "training.select=last")


class Heavy:
    """A distiller with about 0.4 MB of knowledge a slice."""

    @i2ikd.hookimpl
    def register_distillers(self, register: Any) -> None:
        class Repeated(i2ikd.Distiller):
            uses_taps = False
            cacheable = True

            def knowledge(self, teacher: Any, batch: Any) -> Any:
                return {"image": teacher.image().repeat(1, 100, 1, 1)}

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                return (student.image() - knowledge["image"]).abs().mean()

        register("heavy", Repeated)


class Class:
    """Teaches one arm and counts what its teacher is asked."""

    def __init__(self, laboratory: Any, arm: dict[str, Any], *overrides: str, plugins: tuple[object, ...] = ()) -> None:
        self.laboratory = laboratory
        self.graph = laboratory.graph(*SGD, *overrides, arms=[{"name": "arm", **arm}], plugins=plugins)
        self.teacher_run = train_teacher(self.graph, 0, log=lambda _: None)
        self.trainer = RunTrainer(self.graph)
        self.slices: list[int] = []
        """Of each batch that the teacher saw."""

    @contextmanager
    def _listened(self) -> Iterator[torch.nn.Module]:
        teacher = load_network(self.graph.context.registry, self.teacher_run.folder)
        handle = teacher.register_forward_pre_hook(lambda _, args: self.slices.append(len(args[0])))
        yield teacher
        handle.remove()

    def shared(self, teacher: torch.nn.Module) -> Any:
        return self.trainer.context(0, {"teacher": (self.teacher_run,)}, {"teacher": teacher})

    def teach(self, arm: dict[str, Any] | None = None) -> Any:
        chosen = self.graph.context.experiment.arms[0] if arm is None else Arm.model_validate({"name": "other", **arm})
        run = self.graph.arm_run(chosen, 0)
        with self._listened() as teacher:
            train_runs([run], self.shared(teacher))
        return run


def test_imitation_asks_once_about_every_slice(laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "imitation"})
    course.teach()
    assert sum(course.slices) == SAMPLES


def test_without_a_cache_every_step_asks(laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "imitation"}, "training.cache_mb=0")
    course.teach()
    assert course.slices == [2] * (3 * STEPS)


def test_all_terms_of_a_step_share_one_question(laboratory: Any) -> None:
    joint = {"recipe": "joint", "alpha": 0.5, "distiller": "fitnet"}
    course = Class(laboratory, joint, "training.cache_mb=0")
    course.teach()
    dry_run = 1
    assert len(course.slices) == dry_run + 3 * STEPS


def test_both_stages_of_kd_mri_ask_once_each(laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "kd-mri"})
    course.teach()
    dry_run = 2
    assert sum(course.slices) == dry_run + 2 * SAMPLES


def test_a_second_arm_takes_what_is_known(laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "imitation"})
    course.teach()
    course.slices.clear()
    course.teach({"recipe": "joint", "alpha": 0.5})
    dry_run = 2
    assert sum(course.slices) == dry_run + SAMPLES, "for the attention alone"


@pytest.mark.parametrize("arm", [{"recipe": "imitation"}, {"recipe": "kd-mri"}], ids=lambda arm: arm["recipe"])
def test_what_was_kept_teaches_as_the_living_teacher(arm: dict[str, Any], laboratory: Any) -> None:
    kept = Class(laboratory, arm).teach()
    history, weights = kept.folder.read("history"), laboratory.weights(kept)
    kept.folder.weights.unlink()
    live = Class(laboratory, arm, "training.cache_mb=0").teach()
    assert live.folder == kept.folder, "the cache is no part of what a run is"
    for row, other in zip(history, live.folder.read("history"), strict=True):
        assert row["losses"] == pytest.approx(other["losses"], rel=1e-4)
    for name, tensor in laboratory.weights(live).items():
        assert torch.allclose(tensor, weights[name], rtol=1e-4, atol=1e-6)


def test_over_the_limit_the_teacher_is_asked_live(laboratory: Any) -> None:
    arm = {"recipe": "joint", "distiller": "heavy", "alpha": 0.5}
    large = Class(laboratory, arm, "training.cache_mb=1", "training.cache_disk_mb=0", plugins=(Heavy(),))
    run = large.teach()
    assert large.slices[:2] == [2, 2], "one pass: what the imitation says is kept"
    assert large.slices[2:] == [2] * (3 * STEPS), "what is too much is asked in every step"
    weights = laboratory.weights(run)
    run.folder.weights.unlink()
    roomy = Class(laboratory, arm, "training.cache_mb=3", "training.cache_disk_mb=0", plugins=(Heavy(),))
    again = roomy.teach()
    assert sum(roomy.slices) == SAMPLES
    assert all(torch.allclose(t, weights[name], rtol=1e-4, atol=1e-6) for name, t in laboratory.weights(again).items())


@pytest.mark.parametrize("override", ['training.augmentations=["flip"]', "task.mask.fixed=false"])
def test_a_slice_that_looks_different_each_time_is_asked_live(override: str, laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "imitation"}, override)
    course.teach()
    assert course.slices == [2] * (3 * STEPS)


def test_another_teacher_is_another_bank(laboratory: Any) -> None:
    graph = laboratory.graph("seeds=[0, 1]")
    trainer = RunTrainer(graph)
    inputs = [{"teacher": graph.teacher_runs(seed)} for seed in (0, 1, 0)]
    caches = [trainer.context(0, runs).caches["teacher"] for runs in inputs]
    assert caches[0] is caches[2] and caches[0] is not caches[1]


def test_the_teacher_is_left_as_it_was(laboratory: Any, identical: Any) -> None:
    course = Class(laboratory, {"recipe": "kd-mri"}, "training.cache_mb=0")
    before = laboratory.weights(course.teacher_run)
    run = course.graph.arm_run(course.graph.context.experiment.arms[0], 0)
    teacher = load_network(course.graph.context.registry, course.teacher_run.folder)
    teacher.train()
    train_runs([run], course.shared(teacher))
    assert identical(dict(teacher.state_dict()), before)
    assert all(module.training and not module._forward_hooks for module in teacher.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())


def test_two_slices_of_one_key_are_refused(laboratory: Any) -> None:
    course = Class(laboratory, {"recipe": "imitation"}, "task.memory_mb=0")
    keys = course.graph.context.dataset("train").keys
    keys[1] = keys[0]
    with pytest.raises(i2ikd.UserError, match="the training split has two samples of equal key"):
        course.teach()
