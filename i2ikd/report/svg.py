"""Conversion of matplotlib figures to SVG, deterministic and self-contained: inline in a page's colours, or a file."""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from i2ikd.report.style import ARM_TAG, GRID, INK

_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "i2ikd", "axes.unicode_minus": True}

_LIGHT_INK, _LIGHT_GRID = "#1b1f24", "#dfe3e8"
"""Colours of ``--ink`` and ``--grid`` in ``templates/page.css``."""

_TAGGED = re.compile(rf'\sid="{ARM_TAG}(\d+)"')
"""The id of an artist that ``style.tag`` has marked, which several artists share."""


def inline(figure: Figure, prefix: str, title: str) -> str:
    """Convert a figure to an ``<svg>`` element.

    Args:
        figure: the figure; ``style.INK`` and ``style.GRID`` become the page's colours.
        prefix: prefix of the element's ids, unique in the page.
        title: label for screen readers.

    Returns:
        The element, the same for equal figures; artists of ``style.tag`` have the attribute ``data-arm``.
    """
    return _embedded(_rendered(figure, figure.get_facecolor()), prefix, title)


def standalone(figure: Figure) -> str:
    """Convert a figure to an SVG document for papers and pages, in the colours of the page's light scheme.

    Args:
        figure: the figure; a transparent background becomes white.

    Returns:
        The document, the same for equal figures.
    """
    background = "#ffffff" if follows_page(figure) else figure.get_facecolor()
    text = _rendered(figure, background)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = _TAGGED.sub("", text)
    return text[text.index("<svg") :].replace(INK, _LIGHT_INK).replace(GRID, _LIGHT_GRID)


def _rendered(figure: Figure, background: Any) -> str:
    """Return matplotlib's SVG document of a figure."""
    stream = io.StringIO()
    FigureCanvasSVG(figure)
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(stream, format="svg", facecolor=background, metadata={"Date": None})
    return stream.getvalue()


def follows_page(figure: Figure) -> bool:
    """Return whether a figure has a transparent background and thus the page's.

    Args:
        figure: the figure.
    """
    return to_rgba(figure.get_facecolor())[3] == 0.0


def _embedded(text: str, prefix: str, title: str) -> str:
    """Remove namespaces, metadata and size of an SVG document; prefix its ids; replace the placeholder colours."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = _TAGGED.sub(r' data-arm="\1"', text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    text = text.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height|version)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(title)}">{rest}'


def _attribute(text: str) -> str:
    """Escape an attribute's value."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
