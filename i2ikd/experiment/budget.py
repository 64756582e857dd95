"""Optimiser steps that an arm's graph spends on its student, against those of the control."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.config import Arm
from i2ikd.engine.run import Run
from i2ikd.experiment.graph import RunGraph
from i2ikd.recipe import Start


def student_epochs(run: Run) -> int:
    """Return the epochs in which a run, or an input whose network it starts from, trains the student.

    A teacher trained together with blocks of the student counts where the student starts from the blocks it left.
    """
    own = sum(stage.epochs for stage in run.stages)
    for stage in run.stages:
        start = stage.stage.start
        if isinstance(start, Start) and start.network is not None and start.source in run.inputs:
            own += sum(student_epochs(needed) for needed in run.inputs[start.source])
    return own


def unequal_budgets(graph: RunGraph, arms: Sequence[Arm], seed: int) -> list[str]:
    """Return a line per arm whose student is trained for more steps than the control's; none without a control.

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
