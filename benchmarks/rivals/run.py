"""Variants of the measurement: every rival, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from torch import Tensor

from benchmarks.setting import Setting
from benchmarks.turn import Turn

RIVALS = {
    "expert": ("benchmarks.rivals.expert", "torch"),
    "lightning": ("benchmarks.rivals.lightning", "pytorch_lightning"),
    "torchdistill": ("benchmarks.rivals.distill_box", "torchdistill"),
    "model-optimizer": ("benchmarks.rivals.model_optimizer", "modelopt"),
}
"""Module of every rival, and the package that it needs."""

Train = Callable[[Setting, Callable[[Tensor], None]], None]


def installed() -> list[str]:
    """Return the names of the rivals whose packages are installed."""
    return [name for name, (_, package) in RIVALS.items() if find_spec(package) is not None]


def training(name: str) -> Train:
    """Import and return the training function of a rival."""
    train: Train = importlib.import_module(RIVALS[name][0]).train
    return train


def _run(name: str, setting: Setting, turn: Turn) -> None:
    """Measure training steps; one unit is a step, the first one includes the set-up."""
    turn.begin()
    training(name)(setting, lambda loss: turn.done())


expert = partial(_run, "expert")
lightning = partial(_run, "lightning")
torchdistill = partial(_run, "torchdistill")
model_optimizer = partial(_run, "model-optimizer")
