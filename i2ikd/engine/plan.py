"""Recipes made definite: every stage with its own training settings and number of epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from i2ikd.config import Training, merge_training
from i2ikd.errors import UserError, nearest
from i2ikd.recipe import Stage, active_stages

_SHARED = {"batch", "precision", "augmentations", "device", "workers", "cache_mb", "cache_disk_mb"}


@dataclass(frozen=True)
class PlannedStage:
    """A stage with the settings it is trained with."""

    stage: Stage
    training: Training
    epochs: int


def own_training(base: Training, changes: Mapping[str, Any], where: str) -> Training:
    """Return ``base`` with the settings that a network or a stage has of its own.

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


def plan_stages(stages: Sequence[Stage], training: Training, who: str) -> list[PlannedStage]:
    """Merge each stage's own settings into ``training``; stages without an active term are left out.

    Raises:
        UserError: an unknown setting, one that a stage cannot change, two stages of one name, or nothing left to do.
    """
    planned = []
    for stage in active_stages(list(stages)):
        where = f"{who}, stage {stage.name!r}"
        own = own_training(training, stage.training, where)
        epochs = own.epochs if stage.epochs is None else stage.epochs
        if epochs > 0:
            planned.append(PlannedStage(stage, own, epochs))
    names = [p.stage.name for p in planned]
    if len(set(names)) != len(names):
        raise UserError(f"{who}: two stages have one name ({', '.join(names)})")
    if not planned:
        raise UserError(f"{who}: every term has weight 0, so there is nothing to train")
    return planned
