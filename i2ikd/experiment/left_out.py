"""Parts that the recipes of arms leave out because their networks do not allow them; known before training."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd.config import Arm
from i2ikd.experiment.graph import RunGraph


def left_out(graph: RunGraph, arms: Sequence[Arm]) -> list[str]:
    """Return a line per part that the recipe of an arm leaves out.

    Args:
        graph: whose runs of the arms are planned.
        arms: of the comparison.
    """
    return [
        f"arm {arm.name!r}: the recipe {arm.recipe!r} leaves out: {part}"
        for arm in arms
        for part in graph.left_out.get(arm.name, ())
    ]
