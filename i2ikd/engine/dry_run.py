"""Dry run of a recipe's stages: whether they can be set up for a pair of untrained networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

from torch import nn

from i2ikd.engine.context import TrainingContext
from i2ikd.engine.objectives import set_up_objective
from i2ikd.engine.start_weights import set_start_weights
from i2ikd.errors import UserError
from i2ikd.objective import Side
from i2ikd.recipe import RecipeContext, Stage, Start


class DryRun(RecipeContext):
    """Sets stages up for copies of networks that are not trained.

    Args:
        make: returns the shared state of a loop, with its input networks, and the network to train; called when the
            first stage is tried.
        model: name of the network's model.
        side: which side of an experiment the network is.
    """

    def __init__(self, make: Callable[[], tuple[TrainingContext, nn.Module]], model: str, side: Side) -> None:
        super().__init__()
        self._make = make
        self._model = model
        self._side: Side = side

    @cached_property
    def _networks(self) -> tuple[TrainingContext, nn.Module]:
        shared, network = self._make()
        return shared, copy.deepcopy(network)

    def problem(self, stage: Stage) -> str:
        """Return the message of the ``UserError`` that setting a stage up raises; empty without one."""
        shared, network = self._networks
        try:
            if isinstance(stage.start, Start) and stage.start.network is None:
                set_start_weights(stage, network, shared, (self._model, self._side), None, 0)
            set_up_objective(shared, stage, network, self._side, self._model, 0).close()
        except UserError as error:
            return str(error)
        return ""
