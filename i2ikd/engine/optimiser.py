"""Optimisers by timm's names, and their learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from i2ikd.config import Training
from i2ikd.errors import UserError, nearest

TORCHS_OWN: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}
"""What timm would hand out under these names; taken directly, because timm takes two seconds to be imported."""


def make_optimiser(parameters: Iterable[nn.Parameter], training: Training) -> Optimizer:
    """Build the optimiser.

    Raises:
        UserError: a name that timm does not know, or an optimiser that cannot work here.
    """
    name = training.optimizer
    if name in TORCHS_OWN:
        return TORCHS_OWN[name]([{"params": list(parameters)}], lr=training.lr, weight_decay=training.weight_decay)
    from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers

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


def set_rate(optimiser: Optimizer, training: Training, epochs: int, epoch: int) -> None:
    """Give an optimiser the learning rate of an epoch of a stage, the first being 0.

    Linear from a tenth during the warm-up; then, counted from the beginning, constant, decayed in steps, or half a
    cosine down to ``min_lr``. A function of the epoch alone: there is no state to go on from.
    """
    rate = training.lr
    if epoch < training.warmup_epochs:
        rate *= 0.1 + 0.9 * epoch / training.warmup_epochs
    elif training.schedule == "step":
        rate *= training.decay_rate ** (epoch // training.decay_epochs)
    elif training.schedule == "cosine":
        rate = training.min_lr + (rate - training.min_lr) * (1 + math.cos(math.pi * epoch / epochs)) / 2
    for group in optimiser.param_groups:
        group["lr"] = rate
