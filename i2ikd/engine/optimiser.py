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
        UserError: a name that timm does not know, or an optimiser that cannot work here.
    """
    from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers

    name = training.optimizer
    known = [str(optimizer) for optimizer in list_optimizers()]
    if name not in known:
        raise UserError(f"training.optimizer = {name!r} is unknown; {nearest(name, known)}")
    if get_optimizer_info(name).second_order:
        raise UserError(f"training.optimizer = {name!r} needs second derivatives, which are not computed; try 'adamw'")
    try:
        return create_optimizer_v2(
            [{"params": list(parameters)}], opt=name, lr=training.lr, weight_decay=training.weight_decay
        )
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"training.optimizer = {name!r} cannot be used here: {reason}; try 'adamw'") from error


def make_schedule(optimiser: Optimizer, training: Training, epochs: int) -> Any:
    """Build the schedule, stepped once an epoch with the number of the next; ``None`` for a rate that never changes."""
    constant = training.schedule == "constant"
    if constant and training.warmup_epochs == 0:
        return None
    from timm.scheduler import create_scheduler_v2

    schedule, _ = create_scheduler_v2(
        optimiser,
        sched="step" if constant else training.schedule,
        num_epochs=epochs,
        decay_epochs=training.decay_epochs,
        decay_rate=1.0 if constant else training.decay_rate,
        min_lr=training.min_lr,
        warmup_epochs=training.warmup_epochs,
        warmup_lr=training.lr * 0.1,
    )
    return schedule
