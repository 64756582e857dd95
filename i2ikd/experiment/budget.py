"""Training budgets: epochs that an arm's graph of runs spends on its student, against those of the control.

All runs of an experiment share batch size and training split, so that equal epochs are equal optimiser steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.config import Arm
from i2ikd.engine.run import Run
from i2ikd.experiment.graph import RunGraph
from i2ikd.recipe import Start


def student_epochs(run: Run) -> int:
    """Return the epochs in which a run, or an input whose weights it starts from, trains the student.

    Two kinds of input train the student: a run that left the student's network behind, such as a teacher with branches
    of student blocks, and a run of the same network. Layers copied from a network of another shape do not count.

    Args:
        run: of an arm.
    """
    epochs = sum(stage.epochs for stage in run.stages)
    for needed in _starts(run):
        epochs += student_epochs(needed)
    return epochs


def _starts(run: Run) -> list[Run]:
    """Return the inputs that trained the student, each once; of several in one role, the first."""
    found: dict[str, Run] = {}
    for stage in run.stages:
        start = stage.stage.start
        if isinstance(start, Start) and run.inputs.get(start.source):
            source = run.inputs[start.source][0]
            if start.network is not None or _same_network(run, source):
                found[source.specification.digest] = source
    return list(found.values())


def _same_network(run: Run, other: Run) -> bool:
    own, others = run.specification, other.specification
    return (own.model, own.options) == (others.model, others.options)


def unequal_budgets(graph: RunGraph, arms: Sequence[Arm], seed: int) -> list[str]:
    """Return a line per arm whose student is trained for more epochs than the control's; none without a control.

    Args:
        graph: of the experiment's runs.
        arms: of the comparison.
        seed: of one of its seeds.
    """
    control = next((arm for arm in arms if arm.name == graph.context.experiment.comparison.control), None)
    if control is None:
        return []
    allowed = student_epochs(graph.arm_run(control, seed))
    lines = []
    for arm in arms:
        spent = student_epochs(graph.arm_run(arm, seed))
        if spent > allowed:
            lines.append(
                f"warning: arm {arm.name!r} trains its student for {spent} epochs, the control {control.name!r} for "
                f"{allowed}; give the control the same budget before comparing them"
            )
    return lines
