"""Arguments of the life-cycle hooks: one context object per level (run, stage, epoch)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from i2ikd.recipe import Stage


@dataclass
class RunContext:
    """State of one training run: a network, a recipe, a seed.

    Attributes:
        name: name of the run, e.g. ``students/kd-mri/seed0``.
        seed: seed of the run.
        folder: folder of the run's files; ``None`` for a run without files.
        settings: the run's settings, as in its manifest.
        network: the network that is trained.
        error: the exception that ended the run; ``None`` without one.
    """

    name: str
    seed: int
    folder: Path | None
    settings: dict[str, Any]
    network: nn.Module
    error: BaseException | None = None


@dataclass
class StageContext:
    """State of one stage of a run.

    Attributes:
        run: the run.
        stage: the stage's settings.
        index: position in the recipe, from 0.
    """

    run: RunContext
    stage: Stage
    index: int


@dataclass
class EpochContext:
    """State of one epoch of a stage.

    Attributes:
        stage: the stage.
        epoch: position in the stage, from 0.
        losses: mean of every term, unweighted, and ``total``; empty when the epoch starts.
        validation: mean validation loss; ``None`` for an epoch without validation.
        learning_rate: learning rate of the epoch.
    """

    stage: StageContext
    epoch: int
    losses: dict[str, float] = field(default_factory=dict)
    validation: float | None = None
    learning_rate: float = 0.0
