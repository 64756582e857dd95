"""Style of all figures: a colour-blind safe palette, and text colours that follow the page's light or dark scheme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from i2ikd.experiment.summary import Comparison
from i2ikd.report.legend import reference_arms

INK = "#010203"
"""Placeholder colour of text and axes; ``svg.inline`` replaces it by the page's text colour."""

GRID = "#030201"
"""Placeholder colour of grid lines; ``svg.inline`` replaces it by the page's grid colour."""

_COLOURS = ("#0077bb", "#ee7733", "#009988", "#cc3311", "#33bbee", "#ee3377", "#aa8800")
"""Paul Tol's vibrant scheme (https://personal.sron.nl/~pault/) without its grey, and a seventh colour."""

_GREY = "#8a8f98"
_MARKERS = "osD^vP"


class MarkerStyle(NamedTuple):
    """Colour and marker of an arm, the same in all figures.

    Attributes:
        colour: matplotlib colour.
        marker: matplotlib marker.
    """

    colour: str
    marker: str


def marker_styles(comparison: Comparison) -> dict[str, MarkerStyle]:
    """Return the marker style of every row: star for the teacher, grey for student and control.

    Args:
        comparison: the results to draw.

    Returns:
        Styles by arm.
    """
    references = reference_arms(comparison)
    styles = {"teacher": MarkerStyle(INK, "*")}
    others = 0
    for row in comparison.rows:
        if row.arm in (references.student, references.control):
            styles[row.arm] = MarkerStyle(_GREY, "o" if row.arm == references.student else "s")
        elif row.kind == "arm":
            styles[row.arm] = MarkerStyle(_COLOURS[others % len(_COLOURS)], _MARKERS[others % len(_MARKERS)])
            others += 1
        elif row.kind == "baseline":
            styles[row.arm] = MarkerStyle(GRID, "x")
    return styles


def sheet(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """Create a figure without background.

    Args:
        width: in inches.
        height: in inches.
        rows: rows of axes.
        columns: columns of axes.
        options: keyword arguments of ``Figure.subplots``.

    Returns:
        The figure and its styled axes, row by row.
    """
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in axes.flat:
        _apply_style(panel)
    return figure, list(axes.flat)


def _apply_style(axes: Axes) -> None:
    """Set colours, grid and font sizes; remove the upper and right spine."""
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
    """Add a legend without a frame, in the page's text colour.

    Args:
        target: where the legend belongs.
        options: keyword arguments of ``legend``.
    """
    legend = target.legend(frameon=False, fontsize=9, labelcolor=INK, **options)
    title = legend.get_title()
    title.set_color(INK)
    title.set_fontsize(9)


def logarithmic_loss(axes: Axes, values: Sequence[float], headroom: float = 0.1) -> None:
    """Set a logarithmic vertical axis with decimal tick labels, linear ticks for ranges below a factor of 6.

    Args:
        axes: the axes to change.
        values: the losses drawn; those that are not positive and finite are ignored.
        headroom: space for a legend above the largest value, as a fraction of the losses' logarithmic range.
    """
    positive = [value for value in values if math.isfinite(value) and value > 0]
    axes.set_yscale("log")
    narrow = True
    if positive:
        least, largest = min(positive), max(positive)
        span = max(largest / least, 2.0)
        top = largest * span**headroom
        axes.set_ylim(least / span**0.12, top)
        narrow = top < 6 * least
    axes.yaxis.set_major_locator(MaxNLocator(4) if narrow else LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
