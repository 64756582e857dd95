"""Untrained networks of runs on one batch of the task, for checks before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from i2ikd.engine.batches import WHOLE, Part
from i2ikd.engine.context import TrainingContext
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.network import apply
from i2ikd.objective import Side
from i2ikd.sample import Batch


@dataclass
class _OneBatch:
    """A batch source of one batch, on the CPU."""

    batch: Batch
    size: int
    steps: int = 1
    stable: bool = False

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        yield self.batch

    def in_order(self) -> Iterator[Batch]:
        yield self.batch


def blank_context(
    context: ExperimentContext,
    inputs: Mapping[str, nn.Module],
    models: Mapping[str, str],
    build: Callable[[Side], nn.Module],
    example: Batch,
) -> TrainingContext:
    """Return the shared state of a loop over one batch on the CPU.

    Args:
        context: the experiment.
        inputs: untrained input networks by role.
        models: model names by role and side.
        build: returns an untrained network of a side of the experiment.
        example: the batch.
    """
    return TrainingContext(
        registry=context.registry,
        task=context.task,
        batches=_OneBatch(example, context.share * context.group.size),
        validation=None,
        device=torch.device("cpu"),
        precision="fp32",
        inputs=inputs,
        models=models,
        pairs=context.experiment.pairs,
        build=build,
        group=context.group,
    )


@torch.inference_mode()
def try_network(network: nn.Module, example: Batch, where: str) -> None:
    """Run a network on a batch in eval mode.

    Raises:
        UserError: it cannot take the batch; the message names the shapes.
    """
    try:
        apply(network.eval(), example)
    except UserError:
        raise
    except Exception as error:
        passed = {"input": example.input, **example.conditions}
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in passed.items())
        raise UserError(
            f"{where}: {type(network).__name__} cannot take a batch of the task ({shapes}): "
            f"{type(error).__name__}: {error}"
        ) from error
