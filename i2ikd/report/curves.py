"""Figures of training: every arm's losses stage by stage, and all validation losses together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison
from i2ikd.report.style import GRID, INK, logarithmic_loss, marker_styles, put_legend, sheet

_COLUMNS = 3
_VALIDATION = "validation"
_FIXED = {_VALIDATION: INK, "target": "#0077bb", "imitation": "#009988"}
_OTHERS = ("#ee7733", "#cc3311", "#ee3377", "#33bbee")

History = list[dict[str, Any]]
Line = tuple[list[float], list[float]]


def training_losses(comparison: Comparison) -> Figure:
    """A panel an arm: each term of the training loss and the validation loss, over the epochs of all stages.

    Lines are means over the seeds; the scale is logarithmic; a vertical line begins a stage.

    Raises:
        UserError: no history was kept.
    """
    arms = _histories(comparison)
    columns = min(_COLUMNS, len(arms))
    height = -(-len(arms) // columns)
    figure, panels = sheet(3.6 * columns, 2.4 * height, height, columns)
    for panel, (arm, histories) in zip(panels, arms.items()):
        lines = _lines(histories)
        others = [term for term in lines if term not in _FIXED]
        for term, (epochs, values) in lines.items():
            colour = _FIXED.get(term) or _OTHERS[others.index(term) % len(_OTHERS)]
            panel.plot(
                epochs, values, color=colour, linewidth=1.8 if term == _VALIDATION else 1.2, label=term, **_dot(epochs)
            )
        logarithmic_loss(panel, [value for _, values in lines.values() for value in values], headroom=0.55)
        panel.set_title(arm, loc="left", fontweight="bold")
        _mark_stages(panel, _longest(histories))
        put_legend(panel, loc="upper right")
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(arms) - columns) : len(arms)]:
        panel.set_xlabel("epoch")
    return figure


def _dot(epochs: Sequence[float]) -> dict[str, Any]:
    """A line of one epoch would not be seen."""
    return {"marker": "."} if len(epochs) == 1 else {}


def validation_losses(comparison: Comparison) -> Figure:
    """The validation losses of all arms in one panel: means over the seeds, with every seed as a faint line.

    Raises:
        UserError: no history was kept, or nothing was validated.
    """
    arms = {arm: histories for arm, histories in _histories(comparison).items() if _VALIDATION in _lines(histories)}
    if not arms:
        raise UserError("there is nothing to draw: no run was validated")
    figure, (axes,) = sheet(6.4, 4.4)
    known = marker_styles(comparison)
    everything: list[float] = []
    for arm, histories in arms.items():
        style = known[arm]
        for history in histories if len(histories) > 1 else ():
            epochs, values = _lines([history]).get(_VALIDATION, ([], []))
            axes.plot(epochs, values, color=style.colour, linewidth=0.6, alpha=0.35)
        epochs, values = _lines(histories)[_VALIDATION]
        everything += values
        axes.plot(
            epochs,
            values,
            color=style.colour,
            linewidth=1.5,
            marker=style.marker,
            markersize=4,
            markevery=max(1, len(epochs) // 6),
            label=arm,
        )
    logarithmic_loss(axes, everything)
    axes.set_xlabel("epoch, all stages")
    axes.set_ylabel("validation loss")
    put_legend(figure, loc="outside right upper")
    return figure


def _histories(comparison: Comparison) -> dict[str, list[History]]:
    """Return the histories by arm, in the order of the rows."""
    found: dict[str, list[History]] = {}
    for row in comparison.rows:
        seeds = [history for name, history in comparison.histories.items() if name.rpartition("/seed")[0] == row.arm]
        if any(seeds):
            found[row.arm] = [history for history in seeds if history]
    if not found:
        raise UserError("there is nothing to draw: no training history was kept")
    return found


def _lines(histories: Sequence[History]) -> dict[str, Line]:
    """Return (epochs, means over seeds) by term; epochs count on from stage to stage, with a gap between stages."""
    sums: dict[str, dict[float, list[float]]] = {}
    for history in histories:
        for place, row in enumerate(history):
            terms = {name: value for name, value in row["losses"].items() if name != "total"}
            for term, value in {**terms, _VALIDATION: row.get("validation")}.items():
                if value is not None and np.isfinite(value) and value > 0:
                    sums.setdefault(term, {}).setdefault(place + 1, []).append(value)
    gaps = [start + 0.5 for start in _stage_starts(_longest(histories))[1:]]
    return {term: _line({epoch: float(np.mean(v)) for epoch, v in means.items()}, gaps) for term, means in sums.items()}


def _line(means: dict[float, float], gaps: Sequence[float]) -> Line:
    inside = [gap for gap in gaps if min(means) < gap < max(means)]
    whole = {**means, **dict.fromkeys(inside, np.nan)}
    return sorted(whole), [whole[epoch] for epoch in sorted(whole)]


def _longest(histories: Sequence[History]) -> History:
    return max(histories, key=len)


def _stage_starts(history: History) -> list[int]:
    stages = [row["stage"] for row in history]
    return [place for place in range(len(stages)) if place == 0 or stages[place - 1] != stages[place]]


def _mark_stages(axes: Axes, history: History) -> None:
    """Name the stages at the foot of the panel, where falling curves leave room."""
    starts = _stage_starts(history)
    for place in starts[1:]:
        axes.axvline(place + 0.5, color=GRID, linewidth=1.4)
    for place in starts if len(starts) > 1 else ():
        where = (place + 1, 0.03)
        axes.annotate(history[place]["stage"], where, xycoords=axes.get_xaxis_transform(), color=INK, fontsize=9)
