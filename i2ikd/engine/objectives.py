"""Creation of a stage's objective and of the context it is set up with."""

from __future__ import annotations

from torch import nn

from i2ikd.engine.context import TrainingContext
from i2ikd.errors import UserError
from i2ikd.objective import Objective, ObjectiveContext, Side
from i2ikd.recipe import Stage
from i2ikd.registry import Registry


def create_objective(registry: Registry, stage: Stage) -> Objective:
    """Return a stage's objective, not set up yet.

    Raises:
        UserError: unknown name, wrong options, or a component that is no objective.
    """
    reference, where = stage.minimises, f"the stage {stage.name!r}"
    objective = registry.create("objective", reference.name, reference.options, f"{where}, objective")
    if not isinstance(objective, Objective):
        raise UserError(
            f"{where}: expected {reference.name!r} to be an i2ikd.Objective, got {type(objective).__name__}"
        )
    return objective


def set_up_objective(
    shared: TrainingContext, stage: Stage, network: nn.Module, side: Side, model: str, seed: int
) -> Objective:
    """Return a stage's objective, set up for a network and moved to the device.

    Raises:
        UserError: an input network is missing, or networks, shapes or options do not fit.
    """
    objective = create_objective(shared.registry, stage)
    missing = sorted(objective.needs - shared.inputs.keys())
    if missing and "teacher" not in missing:
        raise UserError(
            f"the stage {stage.name!r}: the objective needs an input {missing[0]!r}, and this run has "
            f"{', '.join(sorted(shared.inputs)) or 'none'}; set inputs.{missing[0]} of the arm"
        )
    objective.setup(
        ObjectiveContext(
            network=network,
            side=side,
            inputs={role: shared.inputs[role] for role in sorted(objective.needs & shared.inputs.keys())},
            models={**shared.models, side: model},
            pairs=shared.pairs,
            task=shared.task,
            registry=shared.registry,
            example=shared.example(),
            batch_size=shared.share,
            seed=seed,
            stage=stage.name,
            autocast=shared.autocast,
            first_batches=shared.first_batches,
            build=shared.build,
        )
    )
    return objective.to(shared.device)
