"""The stages of the plain loop in i2ikd's engine, with its loop, objective, teacher cache and defaults."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.operations import training_operations
from benchmarks.plain_loop import ALPHA
from benchmarks.samples import MemoryTask
from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd.callback import Callback, NullCallback, RunContext
from i2ikd.config import Training
from i2ikd.engine.batches import SampleBatches
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.device import keep_large_blocks
from i2ikd.engine.loop import train
from i2ikd.engine.plan import plan_stages
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.engine.trainer import Trainer
from i2ikd.network import to_memory_format
from i2ikd.recipe import Stage
from i2ikd.registry import default_registry

ENDLESS = 10**6
CACHE_MB = 4096


def build_shared(setting: Setting, task: MemoryTask, callback: Callback | None = None) -> TrainingContext:
    """Return the training context of a comparison, with samples in memory."""
    registry, device = default_registry(), torch.device(setting.device)
    teacher = build_network(registry, "dc-cnn", setting.network("teacher"), 1, "teacher")
    return TrainingContext(
        registry=registry,
        task=task,
        batches=SampleBatches(task.dataset("train"), setting.batch, seed=0, pin=setting.device == "cuda"),
        validation=None,
        device=device,
        precision=setting.precision,
        inputs={"teacher": to_memory_format(teacher, device)},
        models={"teacher": "dc-cnn"},
        caches={"teacher": TeacherCache(CACHE_MB if setting.cache else 0)},
        callback=callback or NullCallback(),
    )


def build_student(setting: Setting) -> nn.Module:
    """Return the student with the initial weights of the plain loop's student."""
    return build_network(default_registry(), "dc-cnn", setting.network("student"), 0, "student")


def build_trainer(setting: Setting, shared: TrainingContext, epochs: int, alpha: float = ALPHA) -> Trainer:
    """Return a trainer of the student for one stage of KD-MRI, with attention in the mode of the reference code."""
    options = {"distiller": {"name": "attention", "mode": "code"}, "alpha": alpha}
    stages: list[Stage] = shared.registry.create("recipe", "kd-mri", options)
    selected = [stage for stage in stages if stage.name == setting.stage]
    training = Training(epochs=epochs, batch=setting.batch, schedule="constant", select="last")
    network = build_student(setting)
    context = RunContext("student", 0, None, {}, network)
    return Trainer(context, network, plan_stages(selected, training, "benchmark"), shared, "dc-cnn")


class Ticking(NullCallback):
    """Callback that counts every optimiser step as a unit of work."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def on_step_end(self) -> None:
        """Count one unit."""
        self._turn.done()


def train_stage(setting: Setting, epochs: int = ENDLESS, callback: Callback | None = None) -> None:
    """Train one student in one stage."""
    shared = build_shared(setting, MemoryTask(setting), callback)
    train("benchmark", [build_trainer(setting, shared, epochs)], shared)


def run(setting: Setting, turn: Turn) -> None:
    """Measure training steps; one unit is a step. The first unit includes the teacher's pass over the samples."""
    keep_large_blocks()
    turn.note(operations=training_operations(build_student(setting), setting))
    turn.begin()
    train_stage(setting, callback=Ticking(turn))


def run_arms(setting: Setting, turn: Turn) -> None:
    """Measure the training of several arms; one unit trains all, in lockstep or in separate runs without sharing."""
    keep_large_blocks()
    task = MemoryTask(setting)
    alphas = [(1 + index) / (2 + setting.arms) for index in range(setting.arms)]
    turn.begin()
    while True:
        for group in [alphas] if setting.lockstep else [[alpha] for alpha in alphas]:
            shared = build_shared(setting, task)
            train("arms", [build_trainer(setting, shared, setting.epochs, alpha) for alpha in group], shared)
        turn.done()
