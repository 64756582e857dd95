"""Checks before several processes train together: how batches are divided, and what depends on it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2ikd.config import Arm
from i2ikd.engine.build import build_network
from i2ikd.engine.objectives import create_objective
from i2ikd.engine.run import Run
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph


def ddp_checks(graph: RunGraph, arms: Sequence[Arm]) -> list[str]:
    """Return lines for the user on how batches are divided; none where one process trains.

    A mean over samples is the same with any number of processes. A part that relates the samples of a batch only sees
    those of one process: allowed, with a warning.

    Raises:
        UserError: batches cannot be divided evenly, or a share is too small for an objective.
    """
    context = graph.context
    size = context.group.size
    if size == 1:
        return []
    _refuse_uneven(context.training.batch, len(context.dataset("train")), size)
    seed = context.experiment.seeds[0]
    runs = [graph.teacher_run(seed), *(graph.arm_run(arm, seed) for arm in arms)]
    found = [name for run in runs for name in (*_relations(context, run), *_batch_norms(context, run))]
    line = f"{size} processes: each trains on {context.share} samples of a batch of {context.share * size}"
    if found:
        line += (
            f"; these relate the samples of one process only, so numbers differ from one process: {', '.join(found)}"
        )
    return [line]


def _refuse_uneven(batch: int, count: int, size: int) -> None:
    if batch % size:
        raise UserError(
            f"training.batch = {batch} cannot be divided among {size} processes: it is the batch of all of them "
            f"together; set a multiple of {size}"
        )
    if count < batch and count % size:
        fitting = count - count % size
        hint = f"set training.batch = {fitting}" if fitting else "start fewer processes"
        raise UserError(
            f"the training split has {count} slices, fewer than training.batch = {batch}, and {size} processes cannot "
            f"divide them; {hint}"
        )


def _relations(context: ExperimentContext, run: Run) -> list[str]:
    """Return the parts of a run's objectives that relate samples."""
    found = []
    for stage in run.stages:
        objective = create_objective(context.registry, stage.stage)
        if objective.least_batch > context.share:
            names = ", ".join(objective.relations) or stage.stage.minimises.name
            raise UserError(
                f"{run.name}, stage {stage.stage.name!r}: {names} relates samples and needs at least "
                f"{objective.least_batch} of them, and each of {context.group.size} processes has {context.share}; "
                "raise training.batch, or start fewer processes"
            )
        found += [f"{name} ({run.name})" for name in objective.relations]
    return list(dict.fromkeys(found))


def _batch_norms(context: ExperimentContext, run: Run) -> list[str]:
    """Return whether the network normalises over its batch, as a list of at most one entry."""
    if not run.stages:
        return []
    specification = run.specification
    network = build_network(context.registry, specification.model, specification.options, 0, run.name)
    across = [m for m in network.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    return [f"batch normalisation ({run.name})"] if across else []
