"""Resolution of recipes: every active stage with its training settings and number of epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from i2ikd.config import Training, merge_training
from i2ikd.errors import UserError, nearest
from i2ikd.recipe import Stage, active_stages

_SHARED = {"batch", "precision", "augmentations", "device", "workers", "cache_mib", "cache_disk_mib"}


@dataclass(frozen=True)
class PlannedStage:
    """Stage of a recipe with resolved settings.

    Attributes:
        stage: the stage.
        training: its settings.
        epochs: its number of epochs, at least 1.
    """

    stage: Stage
    training: Training
    epochs: int


def own_training(base: Training, changes: Mapping[str, Any], where: str) -> Training:
    """Return ``base`` with the settings that a network or a stage overrides.

    Args:
        base: settings of the experiment.
        changes: overridden values by name of the setting.
        where: prefix of error messages.

    Raises:
        UserError: an unknown setting, or one that all runs of an experiment share.
    """
    allowed = set(Training.model_fields) - _SHARED
    for name in changes:
        if name in _SHARED:
            raise UserError(f"{where}: {name} is the same for the whole experiment; set training.{name}")
        if name not in allowed:
            raise UserError(f"{where}: there is no setting training.{name}; {nearest(name, allowed)}")
    return merge_training(base, changes, where)


def shared_epochs(stages: Sequence[Stage], total: int) -> list[int | None]:
    """Return the epochs of every stage that has a share of ``total``; ``None`` for the others.

    The ends of the stages are rounded, not their lengths, so that shares that add up to 1 add up to ``total`` epochs.

    >>> shared_epochs([Stage(name=n, objective="o", share=s) for n, s in (("a", 0.3), ("b", 0.3), ("c", 0.4))], 5)
    [2, 1, 2]
    """
    epochs: list[int | None] = []
    share, end = 0.0, 0
    for stage in stages:
        if stage.share is None:
            epochs.append(None)
            continue
        share += stage.share
        before, end = end, math.floor(share * total + 0.5)
        epochs.append(end - before)
    return epochs


def plan_stages(stages: Sequence[Stage], training: Training, owner: str) -> list[PlannedStage]:
    """Merge each stage's overrides into ``training``; stages without an active term or epochs are left out.

    Args:
        stages: of one recipe, in order.
        training: settings of the run.
        owner: prefix of error messages, such as the arm.

    Raises:
        UserError: an unknown setting, one that a stage cannot override, two stages of one name, a share below one
            epoch, or nothing left to train.
    """
    planned = []
    active = active_stages(list(stages))
    for stage, shared in zip(active, shared_epochs(active, training.epochs)):
        where = f"{owner}, stage {stage.name!r}"
        settings = own_training(training, stage.training, where)
        epochs = settings.epochs if stage.epochs is None else stage.epochs
        if shared is not None:
            if shared == 0:
                raise UserError(
                    f"{where}: expected at least one epoch, got share = {stage.share:g} of training.epochs = "
                    f"{training.epochs}; raise training.epochs, or set epochs of the stage"
                )
            epochs = shared
        if epochs > 0:
            planned.append(PlannedStage(stage, settings, epochs))
    names = [p.stage.name for p in planned]
    if len(set(names)) != len(names):
        raise UserError(f"{owner}: two stages have one name ({', '.join(names)})")
    if not planned:
        raise UserError(f"{owner}: every term has weight 0, so there is nothing to train")
    return planned
