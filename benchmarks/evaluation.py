"""Measure the evaluation of a split: the network on every slice, and the metrics of the task."""

from __future__ import annotations

import torch

from benchmarks.engine_loop import build_student
from benchmarks.samples import MemoryTask
from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd.engine.device import keep_large_blocks
from i2ikd.evaluation.predict import evaluate_network, make_metrics
from i2ikd.registry import default_registry


def run(setting: Setting, turn: Turn) -> None:
    """Measure the evaluation; one unit evaluates all samples."""
    keep_large_blocks()
    task, network = MemoryTask(setting), build_student(setting)
    metrics = make_metrics(default_registry(), task)
    device = torch.device(setting.device)
    turn.note(slices=setting.samples)
    turn.begin()
    while True:
        evaluate_network(network, task, task.dataset("test"), metrics, "student", 0, device, setting.precision)
        turn.done()
