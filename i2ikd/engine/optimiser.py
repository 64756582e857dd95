"""Optimiser and schedule, from timm's factories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

from i2ikd.config import Training
from i2ikd.errors import UserError, nearest


def make_optimiser(parameters: Iterable[nn.Parameter], training: Training) -> Optimizer:
    """Build the optimiser.

    Raises:
        UserError: a name that timm does not know.
    """
    from timm.optim import create_optimizer_v2, list_optimizers

    if training.optimizer not in list_optimizers():
        raise UserError(
            f"training.optimizer = {training.optimizer!r} is unknown; {nearest(training.optimizer, list_optimizers())}"
        )
    return create_optimizer_v2(
        [{"params": list(parameters)}],
        opt=training.optimizer,
        lr=training.lr,
        weight_decay=training.weight_decay,
    )


def make_schedule(optimiser: Optimizer, training: Training, epochs: int) -> Any:
    """Build the schedule, stepped once an epoch with the number of the next; ``None`` for a constant rate."""
    if training.schedule == "constant":
        return None
    from timm.scheduler import create_scheduler_v2

    schedule, _ = create_scheduler_v2(
        optimiser,
        sched=training.schedule,
        num_epochs=epochs,
        decay_epochs=training.decay_epochs,
        decay_rate=training.decay_rate,
        min_lr=training.min_lr,
        warmup_epochs=training.warmup_epochs,
        warmup_lr=training.lr * 0.1,
    )
    return schedule
