"""What life-cycle hooks are told: one context object each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from i2ikd.recipe import Stage


@dataclass
class RunContext:
    """One training run: a network, a recipe, a seed."""

    name: str
    """What is trained, e.g. ``students/kd-mri/seed0``."""
    seed: int
    folder: Path | None
    """Where the run keeps its files; ``None`` when it keeps none."""
    settings: dict[str, Any]
    network: nn.Module
    error: BaseException | None = None


@dataclass
class StageContext:
    """One stage of a run."""

    run: RunContext
    stage: Stage
    index: int


@dataclass
class EpochContext:
    """One epoch of a stage."""

    stage: StageContext
    epoch: int
    """Counted within the stage, from 0."""
    losses: dict[str, float] = field(default_factory=dict)
    """Mean of every term, unweighted, plus ``total``; empty when the epoch starts."""
    validation: float | None = None
    """Mean validation loss, where this epoch was validated."""
    learning_rate: float = 0.0
