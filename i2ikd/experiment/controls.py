"""Controls of a comparison beside the stated one: arms in which no other network takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from i2ikd.config import Arm
from i2ikd.engine.run import Run
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.levers import control_levers


@dataclass(frozen=True)
class Controls:
    """What an experiment states on its controls, for the verdict.

    Attributes:
        lacking: levers of the control that the teacher lacks.
        without_teacher: arms in which no other network takes part, the control included.
        rates: peak learning rates with which these arms train the control's network; empty if unknown.
    """

    lacking: Sequence[str] = ()
    without_teacher: frozenset[str] = frozenset()
    rates: frozenset[float] = frozenset()


NO_CONTROLS = Controls()
"""Nothing is known of the experiment."""


def controls_of(graph: RunGraph, arms: Sequence[Arm], seed: int) -> Controls:
    """Return the controls of an experiment.

    Args:
        graph: of the experiment's runs.
        arms: of the comparison.
        seed: of one of its seeds.
    """
    runs = {arm.name: graph.arm_run(arm, seed) for arm in arms if arm.of is None}
    alone = {name: run for name, run in runs.items() if not run.inputs}
    control = alone.get(graph.context.experiment.comparison.control)
    same = [] if control is None else [run for run in alone.values() if _network(run) == _network(control)]
    rates = frozenset(_peak(run) for run in same)
    return Controls(tuple(control_levers(graph, arms, seed)), frozenset(alone), rates)


def _network(run: Run) -> tuple[object, ...]:
    specification = run.specification
    return specification.model, specification.options, specification.transforms


def _peak(run: Run) -> float:
    return max(float(stage["training"]["lr"]) for stage in run.specification.stages)
