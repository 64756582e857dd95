"""The report as one self-contained HTML page: no file beside it and no network is needed to read it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from i2ikd.experiment.summary import Comparison
from i2ikd.registry import Component, Registry, default_registry
from i2ikd.report import numbers
from i2ikd.report.content import Cell, difference_cell, metric_decimals, pivot
from i2ikd.report.gallery import Gallery, gallery
from i2ikd.report.highlights import highlights
from i2ikd.report.legend import judged, legend, roles
from i2ikd.report.pictures import Pictures
from i2ikd.report.svg import follows_page, inline

_TEMPLATES = Path(__file__).parent / "templates"
_WIDE = 8.0
"""Inches from which on a figure takes the page's whole width."""


@dataclass(frozen=True)
class Drawn:
    """A registered figure, drawn, or why it could not be."""

    name: str
    title: str
    svg: str = ""
    wide: bool = False
    own_background: bool = False
    problem: str = ""


@dataclass(frozen=True)
class DifferenceRow:
    """An arm's differences, a cell per reference."""

    arm: str
    cells: list[Cell]


def page(comparison: Comparison, pictures: Pictures | None = None, registry: Registry | None = None) -> str:
    """Return the page.

    Args:
        comparison: what was found.
        pictures: images to show, if any.
        host: whose registered figures are drawn; a figure that fails costs a line in the page and on stderr.
    """
    registry = registry or default_registry()
    first = next(iter(comparison.columns))
    content = pivot(comparison, registry)
    return (
        _environment()
        .get_template("page.html")
        .render(
            name=comparison.name,
            metadata=comparison.metadata,
            highlights=highlights(comparison),
            columns=content.columns,
            tops=[line for line in content.lines if line.kind != "arm"],
            arms=[line for line in content.lines if line.kind == "arm"],
            legend=legend(comparison, registry),
            first=first,
            unit=judged(comparison.columns[first], registry).unit,
            references=comparison.references,
            differences=_differences(comparison, first),
            control=roles(comparison).control,
            figures=[
                _draw(component, place, comparison) for place, component in enumerate(registry.components("figure"))
            ],
            gallery=_gallery(comparison, pictures or [], first, registry),
            spread=_latency_spreads(comparison),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_TEMPLATES)
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


def _differences(comparison: Comparison, first: str) -> list[DifferenceRow]:
    digits = metric_decimals(comparison, first)
    rows = [row for row in comparison.rows if row.differences]
    return [
        DifferenceRow(row.arm, [difference_cell(row, name, digits) for name in comparison.references]) for row in rows
    ]


def _draw(component: Component, place: int, comparison: Comparison) -> Drawn:
    """Call one figure; whatever a plugin's figure raises must not cost the report."""
    title = component.summary or component.name
    try:
        figure = component.resolve()(comparison)
        if not isinstance(figure, Figure):
            raise TypeError(f"it gave a {type(figure).__name__}, not a matplotlib Figure")
        svg = Markup(inline(figure, f"figure{place}", title))
        wide = float(figure.get_size_inches()[0]) >= _WIDE
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        print(f"i2ikd: the figure {component.name!r} of {component.plugin.label}: {problem}", file=sys.stderr)
        return Drawn(component.name, title, problem=problem)
    return Drawn(component.name, title, svg, wide, own_background=not follows_page(figure))


def _gallery(comparison: Comparison, pictures: Pictures, first: str, registry: Registry) -> Gallery | None:
    baselines = [row.arm for row in comparison.rows if row.kind == "baseline"]
    networks = [row.arm for row in comparison.rows if row.kind != "baseline"]
    if not pictures:
        return None
    unit = judged(comparison.columns[first], registry).unit
    return gallery(pictures, baselines, networks, metric_decimals(comparison, first), unit)


def _latency_spreads(comparison: Comparison) -> dict[str, str]:
    """Return the distance between the latency's quartiles by arm, as a remark."""
    return {
        row.arm: f"quartiles {numbers.milliseconds(row.costs.latency_spread_ms)} ms apart"
        for row in comparison.rows
        if row.costs is not None and row.costs.latency_spread_ms is not None
    }
