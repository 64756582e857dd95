"""Contrast of texts and figures on the light and on the dark page: WCAG 2.2, level AA."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from i2ikd.report.style import COLOURS, GREY

TEXT, GRAPHICS = 4.5, 3.0
"""Least ratios of success criteria 1.4.3 and 1.4.11."""


def schemes() -> dict[str, dict[str, str]]:
    """The colours of the page by scheme and name."""
    css = resources.files("i2ikd.report").joinpath("templates/page.css").read_text("utf-8")
    roots = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    return dict(zip(("light", "dark"), (dict(re.findall(r"--(\w+): (#\w{6});", root)) for root in roots), strict=True))


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_the_ratio_is_that_of_the_definition() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_are_legible(scheme: str) -> None:
    colours = schemes()[scheme]
    for ink in ("ink", "quiet", "accent"):
        for ground in ("paper", "raised"):
            assert contrast(colours[ink], colours[ground]) >= TEXT, (ink, ground)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("colour", [*COLOURS, GREY])
def test_points_and_curves_are_visible(scheme: str, colour: str) -> None:
    assert contrast(colour, schemes()[scheme]["paper"]) >= GRAPHICS
