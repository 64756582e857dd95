"""HTML form of a comparison: one self-contained page without external files or network access."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from i2ikd.experiment.summary import Comparison
from i2ikd.registry import Component, Registry, default_registry
from i2ikd.report import numbers
from i2ikd.report.content import Cell, difference_cell, metric_decimals, table_content
from i2ikd.report.gallery import Gallery, gallery
from i2ikd.report.highlights import highlights
from i2ikd.report.legend import describe_metric, legend, reference_arms
from i2ikd.report.pictures import Pictures
from i2ikd.report.svg import draw, inline, standalone

_TEMPLATES = Path(__file__).parent / "templates"
_WIDE = 8.0
"""Width in inches from which a figure spans both columns of the page."""


_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content-Security-Policy of the page: its own script by digest, inline styles and images, and no connection."""


@dataclass(frozen=True)
class RenderedFigure:
    """A registered figure as SVG, or the error that prevented it.

    Attributes:
        name: registered name.
        title: caption, the registered summary.
        svg: the ``<svg>`` element; empty after an error.
        wide: whether the figure spans both columns of the page.
        own_background: whether the figure has a background instead of the page's.
        document: the figure as an SVG file; empty after an error.
        problem: the error's message; empty without one.
    """

    name: str
    title: str
    svg: str = ""
    wide: bool = False
    own_background: bool = False
    document: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Section:
    """An entry of the page's contents.

    Attributes:
        id: id of the element that the entry links to.
        title: text of the entry.
    """

    id: str
    title: str


@dataclass(frozen=True)
class DifferenceRow:
    """One row of the table of paired differences.

    Attributes:
        arm: name of the arm.
        cells: one per reference of the comparison, in its order.
    """

    arm: str
    cells: list[Cell]


def page(
    comparison: Comparison,
    pictures: Pictures | None = None,
    registry: Registry | None = None,
    figures: Sequence[RenderedFigure] | None = None,
) -> str:
    """Format a comparison as an HTML page.

    Args:
        comparison: the results to write.
        pictures: images of the gallery; none when ``None``.
        registry: source of metrics and figures; ``default_registry()`` when ``None``.
        figures: the registered figures; rendered when ``None``.

    Returns:
        The HTML document.
    """
    registry = registry or default_registry()
    first = next(iter(comparison.columns))
    content = table_content(comparison, registry)
    drawn = render_figures(comparison, registry) if figures is None else figures
    images = _gallery(comparison, pictures or [], first, registry)
    differences = _differences(comparison, first)
    return (
        environment()
        .get_template("page.html")
        .render(
            policy=policy(_script()),
            script=Markup(_script()),
            name=comparison.name,
            metadata=comparison.metadata,
            highlights=highlights(comparison),
            conclusions=comparison.conclusions,
            columns=content.columns,
            tops=[line for line in content.lines if line.kind != "arm"],
            arms=[line for line in content.lines if line.kind == "arm"],
            legend=legend(comparison, registry),
            first=first,
            unit=describe_metric(comparison.columns[first], registry).unit,
            references=comparison.references,
            differences=differences,
            control=reference_arms(comparison).control,
            figures=drawn,
            gallery=images,
            indices={row.arm: index for index, row in enumerate(comparison.rows) if row.kind == "arm"},
            sections=_sections(bool(differences), bool(drawn), images is not None),
            spread=_latency_spreads(comparison),
        )
    )


def render_figures(comparison: Comparison, registry: Registry) -> list[RenderedFigure]:
    """Render the registered figures; exceptions are reported in their places, and in one line on stderr.

    Args:
        comparison: the results to draw.
        registry: source of the figures.
    """
    found = [_draw(component, index, comparison) for index, component in enumerate(registry.components("figure"))]
    problems = [f"{figure.name}: {figure.problem}" for figure in found if figure.problem]
    if problems:
        print(f"i2ikd: {len(problems)} of {len(found)} figures not drawn: {'; '.join(problems)[:240]}", file=sys.stderr)
    return found


@cache
def _script() -> str:
    """Return the page's script: sorting, filter and pins of the table, and the viewer of two images."""
    return "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("table.js", "viewer.js"))


def policy(script: str = "") -> str:
    """Return the Content-Security-Policy of a page.

    Args:
        script: the only script of the page; empty: it has none.
    """
    return _POLICY.format(script=_sha256(script))


def _sha256(text: str) -> str:
    """Return the source expression of a Content-Security-Policy for a text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def environment() -> jinja2.Environment:
    """Return the template environment of all pages; undefined variables raise."""
    loader = jinja2.FileSystemLoader(_TEMPLATES)
    return jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )


def _sections(differences: bool, figures: bool, images: bool) -> list[Section]:
    """Return the page's contents."""
    sections = [Section("results", "Results"), Section("legend", "Legend")]
    sections += [Section("differences", "Paired differences")] * differences
    sections += [Section("figures", "Figures")] * figures
    return sections + [Section("images", "Images")] * images


def _differences(comparison: Comparison, first: str) -> list[DifferenceRow]:
    """Return the rows of the table of paired differences in the first metric."""
    digits = metric_decimals(comparison, first)
    rows = [row for row in comparison.rows if row.differences]
    return [
        DifferenceRow(row.arm, [difference_cell(row, name, digits) for name in comparison.references]) for row in rows
    ]


def _draw(component: Component, index: int, comparison: Comparison) -> RenderedFigure:
    """Render one registered figure; exceptions are reported, so that the report is written without the figure."""
    title = component.summary or component.name
    try:
        figure = component.resolve()(comparison)
        if not isinstance(figure, Figure):
            raise TypeError(f"expected a matplotlib Figure, got a {type(figure).__name__}")
        drawing = draw(figure)
        svg, document = Markup(inline(drawing, f"figure{index}", title)), standalone(drawing)
        wide = float(figure.get_size_inches()[0]) >= _WIDE
    except (Exception, SystemExit) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        return RenderedFigure(component.name, title, problem=f"{problem} [{component.plugin.label}]")
    return RenderedFigure(component.name, title, svg, wide, not drawing.follows_page, document)


def _gallery(comparison: Comparison, pictures: Pictures, first: str, registry: Registry) -> Gallery | None:
    """Render the pictures; ``None`` without any."""
    baselines = [row.arm for row in comparison.rows if row.kind == "baseline"]
    networks = [row.arm for row in comparison.rows if row.kind != "baseline"]
    if not pictures:
        return None
    unit = describe_metric(comparison.columns[first], registry).unit
    return gallery(pictures, baselines, networks, metric_decimals(comparison, first), unit)


def _latency_spreads(comparison: Comparison) -> dict[str, str]:
    """Return the interquartile range of the latency by arm, as text."""
    return {
        row.arm: f"interquartile range {numbers.milliseconds(row.costs.latency_spread_ms)} ms"
        for row in comparison.rows
        if row.costs is not None and row.costs.latency_spread_ms is not None
    }
