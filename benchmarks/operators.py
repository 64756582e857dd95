"""Profile the operators of one slice's inference or of a training step: ``python -m benchmarks.operators``."""

from __future__ import annotations

from typing import Any, Literal

import click
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import profile

from benchmarks.engine_loop import train_stage
from benchmarks.samples import MemorySamples
from benchmarks.setting import Precision, Setting
from i2ikd.callback import NullCallback
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.device import keep_large_blocks
from i2ikd.evaluation.latency import first_slice, ready
from i2ikd.registry import default_registry

_ROWS = 14


@click.command()
@click.option("--size", default=256, show_default=True, help="Side of the slice.")
@click.option("--rounds", default=10, show_default=True, help="Profiled slices or steps.")
@click.option("--training", is_flag=True, help="Profile a training step of the student instead, batch 4.")
@click.option(
    "--stage",
    type=click.Choice(["output", "features"]),
    default="output",
    show_default=True,
    help="Of the step: output, with a cached teacher, or features, the attention stage with a live one.",
)
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Of the step."
)
def main(size: int, rounds: int, training: bool, stage: Literal["output", "features"], precision: Precision) -> None:
    """Profile student and teacher on one slice, prepared for deployment, or profile a training step."""
    keep_large_blocks()
    if training:
        _training(Setting(size=size, stage=stage, precision=precision, cache=stage == "output"), rounds)
    else:
        _inference(size, rounds)


def _training(setting: Setting, rounds: int) -> None:
    callback = _Steps(warm_up=2)
    train_stage(setting, epochs=-(-(rounds + 2) * setting.batch // setting.samples), callback=callback)
    callback.profiled.stop()
    title = f"{setting.stage}, {setting.precision}"
    Console().print(_table(title, callback.profiled, callback.steps - 2))


class _Steps(NullCallback):
    """Start profiling after some warm-up steps."""

    def __init__(self, warm_up: int) -> None:
        self.profiled = profile(record_shapes=True)
        self.steps = 0
        self._warm_up = warm_up

    def on_step_end(self) -> None:
        """Count a step; start the profiler after the warm-up."""
        self.steps += 1
        if self.steps == self._warm_up:
            self.profiled.start()


@torch.inference_mode()
def _inference(size: int, rounds: int) -> None:
    setting, samples = Setting(size=size, batch=1), MemorySamples(1, size)
    batch = first_slice(next(ordered(samples, 1)))
    for side in ("student", "teacher"):
        network = ready(build_network(default_registry(), "dc-cnn", setting.network(side), 0, side))
        for _ in range(3):
            network(batch.input, **batch.conditions)
        with profile(record_shapes=True) as profiled:
            for _ in range(rounds):
                network(batch.input, **batch.conditions)
        Console().print(_table(side, profiled, rounds))


def _table(side: str, profiled: Any, rounds: int) -> Table:
    rows = profiled.key_averages(group_by_input_shape=True)
    rows = sorted(rows, key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows) / rounds / 1e3
    table = Table("operator", "shapes", "calls", "ms", "%", title=f"{side}: {total:.0f} ms")
    for row in rows[:_ROWS]:
        shapes = ", ".join(" x ".join(map(str, shape)) for shape in row.input_shapes if len(shape) == 4)
        taken = row.self_cpu_time_total / rounds / 1e3
        table.add_row(row.key, shapes, f"{row.count / rounds:.0f}", f"{taken:.1f}", f"{100 * taken / total:.0f}")
    return table


if __name__ == "__main__":
    main()
