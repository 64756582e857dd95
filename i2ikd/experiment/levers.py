"""Levers: training aids that need no teacher, such as a training transform; known before training."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.config import Arm
from i2ikd.engine.run import Run
from i2ikd.experiment.graph import RunGraph
from i2ikd.options import parameters


def missing_levers(graph: RunGraph, arms: Sequence[Arm], seed: int) -> list[str]:
    """Return a line per arm whose student has levers that its teacher lacks, and one for the control.

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
        lacking = _lacking(graph, run, run.inputs.get("teacher", ()))
        if lacking:
            place = "[teacher]" if arm.teacher in (None, "teacher") else f"the arm {arm.teacher!r}"
            lines.append(_line(f"arm {arm.name!r}: its student", lacking, "its teacher", place))
    lacking = control_levers(graph, arms, seed)
    if lacking and not any(line.endswith("[teacher]") for line in lines):
        control = graph.context.experiment.comparison.control
        lines.append(_line(f"the control {control!r}", lacking, "the teacher", "[teacher]"))
    return lines


def control_levers(graph: RunGraph, arms: Sequence[Arm], seed: int) -> list[str]:
    """Return the levers of the control that the experiment's teacher lacks, if it teaches any of the arms.

    Args:
        graph: of the experiment's runs.
        arms: of the comparison.
        seed: of one of its seeds.
    """
    control = next((arm for arm in arms if arm.name == graph.context.experiment.comparison.control), None)
    teachers = graph.teacher_runs(seed)
    taught = [graph.arm_run(arm, seed) for arm in arms if arm.of is None]
    if control is None or not any(run.inputs.get("teacher") == teachers for run in taught):
        return []
    return _lacking(graph, graph.arm_run(control, seed), teachers)


def _line(owner: str, lacking: Sequence[str], teacher: str, place: str) -> str:
    return (
        f"warning: {owner} has {', '.join(lacking)}, and {teacher} has not; a teacher that is not above the student's "
        f"control teaches nothing: set the same in {place}"
    )


def _lacking(graph: RunGraph, run: Run, teachers: Sequence[Run]) -> list[str]:
    """Return the levers of a run that a teacher lacks."""
    known = [teacher for teacher in teachers if teacher.specification.weights is None]
    return [
        *(lever for lever in _levers(run) if any(lever not in _levers(teacher) for teacher in known)),
        *(
            f"{name} = true"
            for name, value in _switches(graph, run).items()
            if value and any(_switches(graph, teacher).get(name) is False for teacher in known)
        ),
    ]


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
