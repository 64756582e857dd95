"""Training figures: loss terms per arm over the stages, and the validation losses of all arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from i2ikd.errors import UserError
from i2ikd.experiment.summary import Comparison
from i2ikd.report.style import (
    COLOURS,
    GRID,
    INK,
    arm_tags,
    logarithmic_loss,
    marker_styles,
    put_arm_legend,
    put_legend,
    sheet,
    tag,
)

_MANY = 12
"""Number of panels above which a row has four instead of three."""

_VALIDATION = "validation"
_TERM_COLOURS = {_VALIDATION: INK, "target": COLOURS[0], "imitation": COLOURS[2]}
_OTHER_COLOURS = tuple(colour for colour in COLOURS if colour not in _TERM_COLOURS.values())

History = list[dict[str, Any]]
Curve = tuple[list[float], list[float]]
"""Epochs and values; NaN separates stages."""


def training_losses(comparison: Comparison) -> Figure:
    """Plot the terms of the training loss and the validation loss over the epochs of all stages, one panel per arm.

    Curves are means over the seeds, on a logarithmic axis; a vertical line marks the start of a stage.

    Args:
        comparison: the results, with training histories.

    Returns:
        The figure, without background.

    Raises:
        UserError: ``comparison.histories`` is empty.
    """
    arms = _histories(comparison)
    columns = min(4 if len(arms) > _MANY else 3, len(arms))
    height = -(-len(arms) // columns)
    figure, panels = sheet(3.6 * columns, 2.7 * height, height, columns)
    tags = arm_tags(comparison)
    for panel, (arm, histories) in zip(panels, arms.items()):
        curves = _curves(histories)
        others = [term for term in curves if term not in _TERM_COLOURS]
        for term, (epochs, values) in curves.items():
            colour = _TERM_COLOURS.get(term) or _OTHER_COLOURS[others.index(term) % len(_OTHER_COLOURS)]
            panel.plot(
                epochs,
                values,
                color=colour,
                linewidth=1.8 if term == _VALIDATION else 1.2,
                label=term,
                **_marker(epochs),
            )
        logarithmic_loss(panel, [value for _, values in curves.values() for value in values])
        _mark_stages(panel, _longest(histories))
        _head(panel, arm, len(curves))
        tag(panel, tags.get(arm))
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(arms) - columns) : len(arms)]:
        panel.set_xlabel("epoch")
    return figure


def _head(panel: Axes, arm: str, curves: int) -> None:
    """Write the arm's name and the legend above the panel, where no curve is."""
    columns = min(curves, 3)
    rows = -(-curves // columns)
    panel.set_title(arm, loc="left", fontsize=10, fontweight="bold", color=INK, pad=6 + 12 * rows)
    compact = {"borderpad": 0, "borderaxespad": 0.3, "handlelength": 1.2, "handletextpad": 0.4, "columnspacing": 1.0}
    put_legend(panel, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, fontsize=8, labelspacing=0.2, **compact)


def _marker(epochs: Sequence[float]) -> dict[str, Any]:
    """Return the options of a point marker for a single epoch, of which no line is drawn."""
    return {"marker": "."} if len(epochs) == 1 else {}


def validation_losses(comparison: Comparison) -> Figure:
    """Plot the validation losses of all arms in one panel: means over the seeds, with each seed as a faint line.

    Args:
        comparison: the results, with training histories.

    Returns:
        The figure, without background.

    Raises:
        UserError: ``comparison.histories`` is empty or holds no validation loss.
    """
    arms = {arm: histories for arm, histories in _histories(comparison).items() if _VALIDATION in _curves(histories)}
    if not arms:
        raise UserError("no validation loss to draw: the training histories contain none")
    figure, (axes,) = sheet(6.4, 4.4)
    styles, tags = marker_styles(comparison), arm_tags(comparison)
    all_values: list[float] = []
    for arm, histories in arms.items():
        style = styles[arm]
        for history in histories if len(histories) > 1 else ():
            epochs, values = _curves([history]).get(_VALIDATION, ([], []))
            tag(axes.plot(epochs, values, color=style.colour, linewidth=0.6, alpha=0.35), tags.get(arm))
        epochs, values = _curves(histories)[_VALIDATION]
        all_values += values
        drawn = axes.plot(
            epochs, values, linewidth=1.5, markersize=4, markevery=max(1, len(epochs) // 6), **style.points
        )
        tag(drawn, tags.get(arm))
    logarithmic_loss(axes, all_values)
    axes.set_xlabel("epoch, all stages")
    axes.set_ylabel("validation loss")
    put_arm_legend(figure, comparison, list(arms))
    return figure


def _histories(comparison: Comparison) -> dict[str, list[History]]:
    """Return the training histories by arm, in the order of the rows."""
    found: dict[str, list[History]] = {}
    for name, history in comparison.histories.items():
        if history:
            found.setdefault(name.rpartition("/seed")[0], []).append(history)
    histories = {row.arm: found[row.arm] for row in comparison.rows if row.arm in found}
    if not histories:
        raise UserError("no training history to draw: the comparison's folder contains none")
    return histories


def _curves(histories: Sequence[History]) -> dict[str, Curve]:
    """Return (epochs, means over seeds) by term; epochs are numbered over all stages, with a gap between stages."""
    sums: dict[str, dict[float, list[float]]] = {}
    for history in histories:
        for index, row in enumerate(history):
            terms = {name: value for name, value in row["losses"].items() if name != "total"}
            for term, value in {**terms, _VALIDATION: row.get("validation")}.items():
                if value is not None and np.isfinite(value) and value > 0:
                    sums.setdefault(term, {}).setdefault(index + 1, []).append(value)
    gaps = [start + 0.5 for start in _stage_starts(_longest(histories))[1:]]
    return {
        term: _curve({epoch: float(np.mean(v)) for epoch, v in means.items()}, gaps) for term, means in sums.items()
    }


def _curve(means: dict[float, float], gaps: Sequence[float]) -> Curve:
    """Sort the means by epoch and insert NaN at the gaps within their range."""
    inner_gaps = [gap for gap in gaps if min(means) < gap < max(means)]
    points = {**means, **dict.fromkeys(inner_gaps, np.nan)}
    return sorted(points), [points[epoch] for epoch in sorted(points)]


def _longest(histories: Sequence[History]) -> History:
    """Return the history with the most epochs."""
    return max(histories, key=len)


def _stage_starts(history: History) -> list[int]:
    """Return the index of each stage's first epoch."""
    stages = [row["stage"] for row in history]
    return [index for index in range(len(stages)) if index == 0 or stages[index - 1] != stages[index]]


def _mark_stages(axes: Axes, history: History) -> None:
    """Label the stages at the lower edge of the panel, which decreasing curves leave empty."""
    starts = _stage_starts(history)
    for start in starts[1:]:
        axes.axvline(start + 0.5, color=GRID, linewidth=1.4)
    for start in starts if len(starts) > 1 else ():
        position = (start + 1, 0.03)
        axes.annotate(history[start]["stage"], position, xycoords=axes.get_xaxis_transform(), color=INK, fontsize=9)
