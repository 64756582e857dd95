"""Levers: training aids that need no teacher, such as a training transform; known before training."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.config import Arm
from i2ikd.engine.run import Run
from i2ikd.experiment.graph import RunGraph
from i2ikd.options import parameters


def missing_levers(graph: RunGraph, arms: Sequence[Arm], seed: int) -> list[str]:
    """Return a line per arm whose student has levers that its teacher lacks.

    A lever is a transform during training, a moving average of the weights, or a true option that the teacher's model
    has too and that is false there. A teacher that is not above the student's control teaches nothing, so it should
    have the same levers. Nothing is known of the training of a teacher with given weights, which is left out.

    Args:
        graph: of the experiment's runs.
        arms: of the comparison.
        seed: of one of its seeds.
    """
    lines = []
    for arm in arms:
        if arm.of is not None:
            continue
        run = graph.arm_run(arm, seed)
        teachers = [teacher for teacher in run.inputs.get("teacher", ()) if teacher.specification.weights is None]
        lacking = [lever for lever in _levers(run) if any(lever not in _levers(teacher) for teacher in teachers)]
        lacking += [
            f"{name} = true"
            for name, value in _switches(graph, run).items()
            if value and any(_switches(graph, teacher).get(name) is False for teacher in teachers)
        ]
        if lacking:
            place = "[teacher]" if arm.teacher in (None, "teacher") else f"the arm {arm.teacher!r}"
            lines.append(
                f"warning: arm {arm.name!r}: its student has {', '.join(lacking)}, and its teacher has not; a teacher "
                f"that is not above the student's control teaches nothing: set the same in {place}"
            )
    return lines


def _levers(run: Run) -> list[str]:
    """Return the levers of a run that are no options of its network, in order."""
    averaged = any(stage["training"]["ema"] is not None for stage in run.specification.stages)
    return [
        *(f"the transform {transform['name']!r}" for transform in run.specification.transforms),
        *(["a moving average (ema)"] if averaged else []),
    ]


def _switches(graph: RunGraph, run: Run) -> dict[str, bool]:
    """Return the boolean options of a run's network, defaults included."""
    specification = run.specification
    factory = graph.context.registry.get("model", specification.model).resolve()
    defaults = {name: parameter.default for name, parameter in parameters(factory).items()}
    return {name: v for name, v in (defaults | specification.options).items() if isinstance(v, bool)}
