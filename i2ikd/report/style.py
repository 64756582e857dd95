"""Style of all figures: colours that are legible on light and dark pages, one marker an arm, complete legends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from i2ikd.experiment.summary import Comparison
from i2ikd.report.legend import reference_arms

INK = "#010203"
"""Placeholder colour of text and axes; ``svg.inline`` replaces it by the page's text colour."""

GRID = "#030201"
"""Placeholder colour of grid lines; ``svg.inline`` replaces it by the page's grid colour."""

COLOURS = ("#0077bb", "#dd6611", "#009988", "#cc3311", "#9a6ae0", "#ee3377")
"""Paul Tol's vibrant scheme (https://personal.sron.nl/~pault/), with orange and cyan changed for a contrast of 3:1 on
the light and on the dark page. Colours alone do not distinguish arms: markers differ too."""

GREY = "#80868f"
"""Colour of the student, the control and the baselines, with the same contrast."""

_MARKERS = "osD^vPX"
_LONGEST_COLUMN = 18
"""Number of legend entries that fit beside the axes of a figure; longer legends are below, in columns."""

_ENTRY_INCHES = 0.19
_LEAST_TICKS, _MOST_TICKS = 3, 6
ARM_TAG = "i2ikd-arm-"
"""Start of every value of ``arm_tags``; the number of the row in the comparison follows."""


class MarkerStyle(NamedTuple):
    """Colour and marker of an arm, the same in all figures.

    Attributes:
        colour: matplotlib colour.
        marker: matplotlib marker.
        hollow: whether the marker is not filled.
    """

    colour: str
    marker: str
    hollow: bool = False

    @property
    def points(self) -> dict[str, Any]:
        """Keyword arguments of ``Line2D`` for the markers."""
        face = "none" if self.hollow else self.colour
        return {"marker": self.marker, "color": self.colour, "markerfacecolor": face}


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
            styles[row.arm] = MarkerStyle(GREY, "o" if row.arm == references.student else "s")
        elif row.kind == "arm":
            hollow = others // (len(COLOURS) * len(_MARKERS)) % 2 == 1
            colour, marker = COLOURS[others % len(COLOURS)], _MARKERS[others % len(_MARKERS)]
            styles[row.arm] = MarkerStyle(colour, marker, hollow)
            others += 1
        elif row.kind == "baseline":
            styles[row.arm] = MarkerStyle(GREY, "x")
    return styles


def arm_tags(comparison: Comparison) -> dict[str, str]:
    """Return the tag of each arm's artists, ``Artist.set_gid``; ``svg.inline`` makes it the attribute ``data-arm``.

    The page hides and fades elements by this attribute. Elements without it belong to no arm.

    Args:
        comparison: the results to draw.

    Returns:
        Tags by arm; teacher and baselines have none.
    """
    return {row.arm: f"{ARM_TAG}{index}" for index, row in enumerate(comparison.rows) if row.kind == "arm"}


def tag(artists: Any, name: str | None) -> None:
    """Mark artists as those of an arm.

    Args:
        artists: an artist, or nested sequences of artists such as an ``ErrorbarContainer``.
        name: a value of ``arm_tags``; nothing is marked if ``None``.
    """
    if name is None or artists is None:
        return
    if isinstance(artists, Artist):
        artists.set_gid(name)
        return
    for artist in artists:
        tag(artist, name)


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


def put_legend(target: Figure | Axes, **options: Any) -> Legend:
    """Add a legend without a frame, in the page's text colour.

    Args:
        target: where the legend belongs.
        options: keyword arguments of ``legend``, before the defaults.

    Returns:
        The legend.
    """
    legend = target.legend(**{"frameon": False, "fontsize": 9, "labelcolor": INK, **options})
    title = legend.get_title()
    title.set_color(INK)
    title.set_fontsize(9)
    return legend


def put_arm_legend(figure: Figure, comparison: Comparison, arms: Sequence[str]) -> None:
    """Add a legend with an entry for every arm: beside the axes, or below in columns, where the figure grows.

    Args:
        figure: a figure of ``sheet`` with one row of axes.
        comparison: the results that are drawn.
        arms: the rows that are drawn, in the order of the legend.
    """
    styles, tags = marker_styles(comparison), arm_tags(comparison)
    lines = [Line2D([], [], linestyle="none", markersize=6, label=arm, **styles[arm].points) for arm in arms]
    if len(arms) <= _LONGEST_COLUMN:
        legend = put_legend(figure, loc="outside right upper", handles=lines)
    else:
        width, height = figure.get_size_inches()
        columns = max(1, int(width / (0.075 * max(map(len, arms)) + 0.4)))
        figure.set_size_inches(width, height + _ENTRY_INCHES * math.ceil(len(arms) / columns))
        legend = put_legend(figure, loc="outside lower left", handles=lines, ncols=columns)
    for arm, line, text in zip(arms, legend.get_lines(), legend.get_texts()):
        tag((line, text), tags.get(arm))


def logarithmic_loss(axes: Axes, values: Sequence[float]) -> None:
    """Set a logarithmic vertical axis with decimal labels, at least three where the losses vary.

    Args:
        axes: the axes to change.
        values: the losses drawn; those that are not positive and finite are ignored.
    """
    positive = [value for value in values if math.isfinite(value) and value > 0]
    axes.set_yscale("log")
    if positive:
        span = max(max(positive) / min(positive), 1.2)
        low, high = min(positive) / span**0.12, max(positive) * span**0.06
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers from ``low`` to ``high``: powers of ten if they are three, else more of them."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= _LEAST_TICKS:
            return inside[:: math.ceil(len(inside) / _MOST_TICKS)]
    return [float(tick) for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
