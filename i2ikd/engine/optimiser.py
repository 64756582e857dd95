"""Optimisers by their names in timm, and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from i2ikd.config import Training
from i2ikd.errors import UserError, nearest

TORCH_OPTIMISERS: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}
"""Optimisers that timm returns under these names; constructed directly, because importing timm takes two seconds."""


def make_optimiser(parameters: Iterable[nn.Parameter], training: Training) -> Optimizer:
    """Build the optimiser of a stage.

    Args:
        parameters: trainable parameters of the student and the objective.
        training: its ``optimizer``, ``lr`` and ``weight_decay`` are used.

    Raises:
        UserError: a name unknown to timm, an optimiser that needs second derivatives, or one whose constructor fails.
    """
    name = training.optimizer
    if name in TORCH_OPTIMISERS:
        trained = list(parameters)
        fused = all(parameter.is_floating_point() for parameter in trained)  # no kernel for complex parameters
        return TORCH_OPTIMISERS[name](
            [{"params": trained}], lr=training.lr, weight_decay=training.weight_decay, fused=fused
        )
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
        raise UserError(f"training.optimizer = {name!r} cannot be constructed: {reason}; try 'adamw'") from error


def set_rate(optimiser: Optimizer, training: Training, epochs: int, epoch: int) -> None:
    """Set the learning rate of an epoch of a stage.

    During the ``warmup_epochs`` w, lr * (0.1 + 0.9 * epoch / w). Afterwards, by ``schedule``: ``constant``, lr;
    ``step``, lr * decay_rate ^ floor(epoch / decay_epochs); ``cosine``,
    min_lr + (lr - min_lr) * (1 + cos(pi * epoch / epochs)) / 2 (Loshchilov and Hutter, "SGDR", 2017, equation 5,
    without restarts). The rate depends on the epoch alone, so a resumed run needs no state of a schedule.

    Args:
        optimiser: all its parameter groups are set.
        training: settings of the stage.
        epochs: of the stage.
        epoch: the current one, from 0.
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
