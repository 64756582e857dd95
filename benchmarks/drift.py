"""Compare 50 losses of the engine with those of the plain loop: ``python -m benchmarks.drift``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn.modules.module import register_module_forward_hook

from benchmarks.engine_loop import train_stage
from benchmarks.plain_loop import PlainStage
from benchmarks.setting import Setting
from i2ikd.objective import Objective

STEPS = 50
SMALL = Setting(size=24, batch=4, samples=12, cascades=2, channels=12)
SIZES = [(24, 8), (24, 12), (24, 32), (32, 8), (32, 24), (40, 16)]


def main() -> None:
    """Print the largest relative difference of a loss, for both stages and several sizes.

    The last column is the difference of the plain loop from itself when its initial weights are changed in the last
    bit. Differences below that cannot be distinguished from another order of summation.
    """
    table = Table(
        "stage", "size", "channels", "engine", "plain, last bit changed", title=f"of {STEPS} losses in float32"
    )
    for stage, (size, channels) in itertools.product(("output", "features"), SIZES):
        setting = replace(SMALL, stage=stage, size=size, channels=channels)  # type: ignore[arg-type]
        plain = plain_losses(setting)
        differences = [
            _relative_difference(losses, plain)
            for losses in (engine_losses(setting), plain_losses(setting, last_bit=True))
        ]
        table.add_row(stage, str(size), str(channels), *(f"{value:.1e}" for value in differences))
    Console().print(table)


def plain_losses(setting: Setting, last_bit: bool = False) -> list[float]:
    """Return the first ``STEPS`` losses of the plain loop; with ``last_bit``, from initial weights one ulp larger."""
    stage = PlainStage(setting)
    if last_bit:
        with torch.no_grad():
            for weight in stage.student.parameters():
                weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
    return list(itertools.islice(stage.losses(), STEPS))


def engine_losses(setting: Setting) -> list[float]:
    """Return the first ``STEPS`` losses of the engine."""
    with _recorded_losses() as losses:
        train_stage(setting, epochs=-(-STEPS * setting.batch // setting.samples))
    return losses[:STEPS]


def _relative_difference(losses: list[float], expected: list[float]) -> float:
    """Return the largest relative difference of two loss curves."""
    return float(np.max(np.abs(np.array(losses) / np.array(expected) - 1)))


@contextmanager
def _recorded_losses() -> Iterator[list[float]]:
    """Record the output of every objective inside the context."""
    losses: list[float] = []

    def record(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(module, Objective):
            losses.append(float(output.total.detach()))

    handle = register_module_forward_hook(record)
    yield losses
    handle.remove()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
