"""Checks before training: every network runs on the task's samples, every objective and optimiser can be set up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from i2ikd.config import Arm, digest
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.objectives import set_up_objective
from i2ikd.engine.optimiser import make_optimiser
from i2ikd.engine.plan import PlannedStage
from i2ikd.engine.run import Run, create_transforms
from i2ikd.engine.start import frozen_parameters, trained_parameters
from i2ikd.engine.start_weights import set_start_weights
from i2ikd.errors import UserError, named
from i2ikd.experiment.blank import blank_context, try_network
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.data_checks import check_data
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.networks import blank_input
from i2ikd.recipe import Start
from i2ikd.sample import Batch

_SPLITS = ("train", "val", "test")


def check(graph: RunGraph, arms: Sequence[Arm]) -> None:
    """Build and run every network once, set up every objective and optimiser of the arms and of the teacher.

    What a call has found sound, ``graph.checked``, is not checked again by the next one.

    Raises:
        UserError: the first check that fails.
    """
    waiting = [arm for arm in arms if arm.name not in graph.checked]
    if graph.checked and not waiting:
        return
    context = graph.context
    for split in _SPLITS:
        if len(context.dataset(split)) == 0:
            raise UserError(f"the split {split!r} has no slices")
    check_data(context)
    examples = [next(iter(ordered(context.dataset(split), 2))) for split in _SPLITS]
    seed, inputs = context.experiment.seeds[0], _BlankInputs(context)
    run = graph.teacher_run(seed)
    teacher = blank_input(context, [run], None)
    for example in examples:
        try_network(teacher, example, "teacher")
    with named("teacher"):
        _check_stages(graph, run, teacher, examples[0], "teacher", inputs)
    graph.trained_transforms("teacher")
    graph.checked.add("teacher")
    for arm in waiting:
        graph.trained_transforms(arm.name)
        run = graph.arm_run(arm, seed)
        where = f"student (arm {arm.name!r})"
        student = build_network(context.registry, run.specification.model, run.specification.options, 0, where)
        try_network(student, examples[0], where)
        with named(f"arm {arm.name!r}"):
            _check_stages(graph, run, student, examples[0], where, inputs)
        graph.checked.add(arm.name)


class _BlankInputs:
    """Untrained input networks, each built once for all arms.

    Args:
        context: the experiment.
    """

    def __init__(self, context: ExperimentContext) -> None:
        self._context = context
        self._made: dict[str, nn.Module] = {}

    def of(self, run: Run) -> dict[str, nn.Module]:
        """Return the input networks of a run by role."""
        found = {}
        for role, runs in run.inputs.items():
            combine = run.specification.combine.get(role)
            key = digest([[needed.specification.digest for needed in runs], combine])
            if key not in self._made:
                self._made[key] = blank_input(self._context, runs, combine)
            found[role] = self._made[key]
        return found


def _check_stages(
    graph: RunGraph, run: Run, network: nn.Module, example: Batch, where: str, inputs: _BlankInputs
) -> None:
    context = graph.context
    shared = blank_context(context, inputs.of(run), graph.models(run.inputs), graph.blank, example)
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
