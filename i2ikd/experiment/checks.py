"""Checks before training: every network runs on the task's samples, every objective and optimiser can be set up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from i2ikd.config import Arm
from i2ikd.engine.batches import WHOLE, Part, ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.objectives import set_up_objective
from i2ikd.engine.optimiser import make_optimiser
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.run import Run, create_transforms
from i2ikd.engine.start import frozen_parameters, trained_parameters
from i2ikd.engine.start_weights import set_start_weights
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.data_checks import check_data
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.networks import blank_input
from i2ikd.network import apply
from i2ikd.objective import Side
from i2ikd.recipe import Start
from i2ikd.sample import Batch

_SPLITS = ("train", "val", "test")


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


def check(graph: RunGraph, arms: Sequence[Arm]) -> None:
    """Build and run every network once, set up every objective and optimiser of the arms and of the teacher.

    Raises:
        UserError: the first check that fails.
    """
    context = graph.context
    for split in _SPLITS:
        if len(context.dataset(split)) == 0:
            raise UserError(f"the split {split!r} has no slices")
    check_data(context)
    examples = [next(iter(ordered(context.dataset(split), 2))) for split in _SPLITS]
    seed = context.experiment.seeds[0]
    run = graph.teacher_run(seed)
    teacher = blank_input(context, [run], None)
    for example in examples:
        _try(teacher, example, "teacher")
    _check_stages(graph, run, teacher, examples[0], "teacher")
    graph.trained_transforms("teacher")
    for arm in arms:
        graph.trained_transforms(arm.name)
        run = graph.arm_run(arm, seed)
        where = f"student (arm {arm.name!r})"
        student = build_network(context.registry, run.specification.model, run.specification.options, 0, where)
        _try(student, examples[0], where)
        _check_stages(graph, run, student, examples[0], where)


def _check_stages(graph: RunGraph, run: Run, network: nn.Module, example: Batch, where: str) -> None:
    context = graph.context
    inputs = {
        role: blank_input(context, runs, run.specification.combine.get(role)) for role, runs in run.inputs.items()
    }
    shared = _shared(context, graph, run, inputs, example)
    for transform in create_transforms(context.registry, run.specification.transforms, where):
        network = transform.apply(network, [example], context.task)
    for stage in run.stages:
        make_optimiser(network.parameters(), stage.training)
        _check_start(stage, shared, network, run)
        frozen = frozen_parameters(network, stage.stage.freeze)
        specification = run.specification
        objective = set_up_objective(shared, stage.stage, network, specification.side, specification.model, 0)
        objective.close()
        trained_parameters(network, objective.trainable(), frozen, f"{where}, stage {stage.stage.name!r}")


def _check_start(stage: PlannedStage, shared: TrainingContext, network: nn.Module, run: Run) -> None:
    start = stage.stage.start
    if isinstance(start, Start) and start.network is None:
        model = (run.specification.model, run.specification.side)
        set_start_weights(stage.stage, network, shared, model, None, 0)


def _shared(
    context: ExperimentContext, graph: RunGraph, run: Run, inputs: dict[str, nn.Module], example: Batch
) -> TrainingContext:
    def build(side: Side) -> nn.Module:
        model, options = graph.side(side)
        return build_network(context.registry, model, options, 0, side)

    return TrainingContext(
        registry=context.registry,
        task=context.task,
        batches=_OneBatch(example, context.share * context.group.size),
        validation=None,
        device=torch.device("cpu"),
        precision="fp32",
        inputs=inputs,
        models=graph.models(run.inputs),
        pairs=context.experiment.pairs,
        build=build,
        group=context.group,
    )


@torch.inference_mode()
def _try(network: nn.Module, example: Batch, where: str) -> None:
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
