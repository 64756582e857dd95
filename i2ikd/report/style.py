"""How our figures look: colours that colour-blind people tell apart, ink that follows the page's light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from i2ikd.experiment.summary import Comparison
from i2ikd.report.legend import roles

INK = "#010203"
"""Text and axes: the page writes its own text colour instead (``svg.inline``)."""

GRID = "#030201"
"""Faint lines: the page writes its own faint colour instead."""

_COLOURS = ("#0077bb", "#ee7733", "#009988", "#cc3311", "#33bbee", "#ee3377", "#aa8800")
"""Paul Tol's vibrant scheme; its grey is the student's."""

_GREY = "#8a8f98"
_MARKERS = "osD^vP"


class MarkerStyle(NamedTuple):
    """The colour and the marker that an arm has in every figure."""

    colour: str
    marker: str


def marker_styles(comparison: Comparison) -> dict[str, MarkerStyle]:
    """Return every row's look; the teacher is a star in ink, student and control are grey."""
    found = roles(comparison)
    chosen = {"teacher": MarkerStyle(INK, "*")}
    others = 0
    for row in comparison.rows:
        if row.arm in (found.student, found.control):
            chosen[row.arm] = MarkerStyle(_GREY, "o" if row.arm == found.student else "s")
        elif row.kind == "arm":
            chosen[row.arm] = MarkerStyle(_COLOURS[others % len(_COLOURS)], _MARKERS[others % len(_MARKERS)])
            others += 1
        elif row.kind == "baseline":
            chosen[row.arm] = MarkerStyle(GRID, "x")
    return chosen


def sheet(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure without background and its axes, row by row; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        _clean(one)
    return figure, list(axes.flat)


def _clean(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.tick_params(which="both", colors=INK, labelsize=9)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(INK)
        text.set_fontsize(10)


def put_legend(target: Figure | Axes, **options: Any) -> None:
    """Add a legend without a frame, in the page's ink."""
    legend = target.legend(frameon=False, fontsize=9, labelcolor=INK, **options)
    title = legend.get_title()
    title.set_color(INK)
    title.set_fontsize(9)


def logarithmic_loss(axes: Axes, values: Sequence[float], headroom: float = 0.1) -> None:
    """Make the vertical axis logarithmic, with plain numbers, and enough of them where a loss changes little.

    ``headroom`` is the room for a legend above the largest value, as a share of the losses' (logarithmic) range.
    """
    drawn = [value for value in values if math.isfinite(value) and value > 0]
    axes.set_yscale("log")
    narrow = True
    if drawn:
        least, largest = min(drawn), max(drawn)
        span = max(largest / least, 2.0)
        top = largest * span**headroom
        axes.set_ylim(least / span**0.12, top)
        narrow = top < 6 * least
    axes.yaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
