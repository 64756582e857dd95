"""What changes when every batch is divided among processes, found before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from i2ikd.config import Arm
from i2ikd.distiller import Distiller
from i2ikd.engine.build import build_network
from i2ikd.engine.run import Run
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext


def shares(context: ExperimentContext, arms: Sequence[Arm]) -> list[str]:
    """Return what a person should know of how batches are divided; nothing, where one process trains.

    A mean over samples is the same in any number of processes. What relates the samples of a batch sees those of one
    process only: it is allowed, and said.

    Raises:
        UserError: batches cannot be divided evenly, or a share is too small for a distiller.
    """
    size = context.group.size
    if size == 1:
        return []
    _refuse_uneven(context.training.batch, len(context.dataset("train")), size)
    seed = context.experiment.seeds[0]
    runs = [context.teacher_run(seed), *(context.arm_run(arm, seed) for arm in arms)]
    found = [what for run in runs for what in (*_relating(context, run), *_normalising(context, run))]
    line = f"{size} processes: each learns from {context.share} samples of a batch of {context.share * size}"
    if found:
        line += (
            f"; the numbers differ from those of one process, as these see one process's samples: {', '.join(found)}"
        )
    return [line]


def _refuse_uneven(batch: int, count: int, size: int) -> None:
    if batch % size:
        raise UserError(
            f"training.batch = {batch} cannot be divided among {size} processes: it is the batch of all of them "
            f"together; give a multiple of {size}"
        )
    if count < batch and count % size:
        fitting = count - count % size
        hint = f"set training.batch = {fitting}" if fitting else "start fewer processes"
        raise UserError(
            f"the training split has {count} slices, fewer than training.batch = {batch}, and {size} processes cannot "
            f"divide them; {hint}"
        )


def _relating(context: ExperimentContext, run: Run) -> list[str]:
    """Names of the distillers that relate samples."""
    found = []
    for stage in run.stages:
        for term in stage.stage.terms:
            name, who = term.distiller.name, f"{run.name}, stage {stage.stage.name!r}"
            distiller = context.registry.create("distiller", name, term.distiller.options, where=who)
            if not isinstance(distiller, Distiller):
                continue  # refused by the workbench's own check
            if distiller.least_batch > context.share:
                raise UserError(
                    f"{who}: the term {name!r} relates samples and needs at least {distiller.least_batch} of them, and "
                    f"each of {context.group.size} processes has {context.share}; raise training.batch, or start fewer"
                )
            if distiller.relates_samples:
                found.append(f"{name} ({run.name})")
    return list(dict.fromkeys(found))


def _normalising(context: ExperimentContext, run: Run) -> list[str]:
    """Say whether the network normalises over its batch."""
    if not run.stages:
        return []
    specification = run.specification
    network = build_network(context.registry, specification.model, specification.options, 0, run.name)
    across = [m for m in network.modules() if isinstance(m, _BatchNorm) and not isinstance(m, nn.SyncBatchNorm)]
    return [f"batch normalisation ({run.name})"] if across else []
