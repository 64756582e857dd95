"""Conversion of matplotlib figures to SVG, deterministic and self-contained: inline in a page's colours, or a file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from i2ikd.report.style import ARM_TAG, GRID, INK

_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "i2ikd", "axes.unicode_minus": True}

_LIGHT_INK, _LIGHT_GRID = "#1b1f24", "#dfe3e8"
"""Colours of ``--ink`` and ``--grid`` in ``templates/page.css``."""

_BACKGROUND = re.compile(r'(<g id="patch_1">\s*<path d="[^"]*" style="fill: )none')
"""The rectangle behind a figure, which is the first thing drawn."""

_TAGGED = re.compile(rf'\sid="{ARM_TAG}(\d+)"')
"""The id of an artist that ``style.tag`` has marked, which several artists share."""


@dataclass(frozen=True)
class Drawing:
    """A figure as matplotlib draws it, once for all of its forms.

    Attributes:
        text: the SVG document.
        follows_page: whether the background is transparent and thus the page's.
    """

    text: str
    follows_page: bool


def draw(figure: Figure) -> Drawing:
    """Draw a figure; equal figures have equal drawings.

    Args:
        figure: the figure.
    """
    stream = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        # not savefig, which draws every figure twice
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    return Drawing(stream.getvalue(), to_rgba(figure.get_facecolor())[3] == 0.0)


def inline(drawing: Drawing, prefix: str, title: str) -> str:
    """Convert a drawing to an ``<svg>`` element.

    Args:
        drawing: the drawing; ``style.INK`` and ``style.GRID`` become the page's colours.
        prefix: prefix of the element's ids, unique in the page.
        title: label for screen readers.

    Returns:
        The element; artists of ``style.tag`` have the attribute ``data-arm``.
    """
    return _embedded(drawing.text, prefix, title)


def standalone(drawing: Drawing) -> str:
    """Convert a drawing to an SVG document for papers and pages, in the colours of the page's light scheme.

    Args:
        drawing: the drawing; a transparent background becomes white.
    """
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing.text, flags=re.DOTALL)
    text = _TAGGED.sub("", text)
    if drawing.follows_page:
        text = _BACKGROUND.sub(r"\1#ffffff", text, count=1)
    return text[text.index("<svg") :].replace(INK, _LIGHT_INK).replace(GRID, _LIGHT_GRID)


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
