"""Teacher outputs are cached where they cannot change, and computed in every step otherwise."""

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
    """A distiller with about 0.4 MiB of knowledge per slice."""

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


class Course:
    """Trains one arm and records the batch sizes of its teacher's forward passes."""

    def __init__(self, laboratory: Any, arm: dict[str, Any], *overrides: str, plugins: tuple[object, ...] = ()) -> None:
        self.laboratory = laboratory
        self.graph = laboratory.graph(*SGD, *overrides, arms=[{"name": "arm", **arm}], plugins=plugins)
        self.teacher_run = train_teacher(self.graph, 0, log=lambda _: None)
        self.trainer = RunTrainer(self.graph)
        self.slices: list[int] = []
        """Number of slices of each batch that the teacher ran on."""

    @contextmanager
    def _counted_teacher(self) -> Iterator[torch.nn.Module]:
        teacher = load_network(self.graph.context.registry, self.teacher_run.folder)
        handle = teacher.register_forward_pre_hook(lambda _, args: self.slices.append(len(args[0])))
        yield teacher
        handle.remove()

    def shared(self, teacher: torch.nn.Module) -> Any:
        return self.trainer.context(0, {"teacher": (self.teacher_run,)}, {"teacher": teacher})

    def train(self, arm: dict[str, Any] | None = None) -> Any:
        chosen = self.graph.context.experiment.arms[0] if arm is None else Arm.model_validate({"name": "other", **arm})
        run = self.graph.arm_run(chosen, 0)
        with self._counted_teacher() as teacher:
            train_runs([run], self.shared(teacher))
        return run


def test_imitation_computes_every_slice_once(laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "imitation"})
    course.train()
    assert sum(course.slices) == SAMPLES


def test_without_a_cache_the_teacher_runs_in_every_step(laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "imitation"}, "training.cache_mib=0")
    course.train()
    assert course.slices == [2] * (3 * STEPS)


def test_all_terms_of_a_step_share_one_forward_pass(laboratory: Any) -> None:
    joint = {"recipe": "joint", "alpha": 0.5, "distiller": "fitnet"}
    course = Course(laboratory, joint, "training.cache_mib=0")
    course.train()
    dry_run = 1
    assert len(course.slices) == dry_run + 3 * STEPS


def test_both_stages_of_kd_mri_compute_every_slice_once(laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "kd-mri"})
    course.train()
    dry_run = 2
    assert sum(course.slices) == dry_run + 2 * SAMPLES


def test_a_second_arm_uses_the_cached_outputs(laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "imitation"})
    course.train()
    course.slices.clear()
    course.train({"recipe": "joint", "alpha": 0.5})
    dry_run = 2
    assert sum(course.slices) == dry_run + SAMPLES, "of the attention alone"


@pytest.mark.parametrize("arm", [{"recipe": "imitation"}, {"recipe": "kd-mri"}], ids=lambda arm: arm["recipe"])
def test_cached_outputs_train_as_live_ones(arm: dict[str, Any], laboratory: Any) -> None:
    cached = Course(laboratory, arm).train()
    history, weights = cached.folder.read("history"), laboratory.weights(cached)
    cached.folder.weights.unlink()
    live = Course(laboratory, arm, "training.cache_mib=0").train()
    assert live.folder == cached.folder, "the cache is not part of a run's identity"
    for row, other in zip(history, live.folder.read("history"), strict=True):
        assert row["losses"] == pytest.approx(other["losses"], rel=1e-4)
    for name, tensor in laboratory.weights(live).items():
        assert torch.allclose(tensor, weights[name], rtol=1e-4, atol=1e-6)


def test_over_the_limit_the_teacher_runs_live(laboratory: Any) -> None:
    arm = {"recipe": "joint", "distiller": "heavy", "alpha": 0.5}
    large = Course(laboratory, arm, "training.cache_mib=1", "training.cache_disk_mib=0", plugins=(Heavy(),))
    run = large.train()
    assert large.slices[:2] == [2, 2], "one pass: the outputs for the imitation are cached"
    assert large.slices[2:] == [2] * (3 * STEPS), "outputs over the limit are computed in every step"
    weights = laboratory.weights(run)
    run.folder.weights.unlink()
    roomy = Course(laboratory, arm, "training.cache_mib=3", "training.cache_disk_mib=0", plugins=(Heavy(),))
    again = roomy.train()
    assert sum(roomy.slices) == SAMPLES
    assert all(torch.allclose(t, weights[name], rtol=1e-4, atol=1e-6) for name, t in laboratory.weights(again).items())


@pytest.mark.parametrize("override", ['training.augmentations=["flip"]', "task.mask.fixed=false"])
def test_outputs_for_slices_that_vary_are_not_cached(override: str, laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "imitation"}, override)
    course.train()
    assert course.slices == [2] * (3 * STEPS)


def test_another_teacher_has_another_cache(laboratory: Any) -> None:
    graph = laboratory.graph("seeds=[0, 1]")
    trainer = RunTrainer(graph)
    inputs = [{"teacher": graph.teacher_runs(seed)} for seed in (0, 1, 0)]
    caches = [trainer.context(0, runs).caches["teacher"] for runs in inputs]
    assert caches[0] is caches[2] and caches[0] is not caches[1]


def test_the_teacher_is_left_as_it_was(laboratory: Any, identical: Any) -> None:
    course = Course(laboratory, {"recipe": "kd-mri"}, "training.cache_mib=0")
    before = laboratory.weights(course.teacher_run)
    run = course.graph.arm_run(course.graph.context.experiment.arms[0], 0)
    teacher = load_network(course.graph.context.registry, course.teacher_run.folder)
    teacher.train()
    train_runs([run], course.shared(teacher))
    assert identical(dict(teacher.state_dict()), before)
    assert all(module.training and not module._forward_hooks for module in teacher.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())


def test_two_slices_of_one_key_are_refused(laboratory: Any) -> None:
    course = Course(laboratory, {"recipe": "imitation"}, "task.memory_mib=0")
    keys = course.graph.context.dataset("train").keys
    keys[1] = keys[0]
    with pytest.raises(i2ikd.UserError, match="the training split has two samples of equal key"):
        course.train()
