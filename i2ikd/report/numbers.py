"""How numbers are written in every table of a report: digits, thousands, intervals, p-values."""

from __future__ import annotations

import math
from collections.abc import Iterable

NONE = "–"
"""Stands where there is no value."""

MINUS = "−"


def decimals(values: Iterable[float], significant: int = 4) -> int:
    """Return how many decimals show ``significant`` digits of the largest value, between 2 and 8.

    >>> decimals([34.52, 31.0]), decimals([0.951]), decimals([0.0123])
    (2, 4, 5)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    if largest == 0:
        return 2
    return min(max(significant - 1 - math.floor(math.log10(largest)), 2), 8)


def fixed(value: float | None, digits: int, signed: bool = False) -> str:
    """Write a number with ``digits`` decimals and a real minus sign; ``NONE`` where it is undefined.

    >>> fixed(-0.125, 2), fixed(0.125, 3, signed=True), fixed(float("nan"), 2)
    ('−0.12', '+0.125', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def span(low: float, high: float, digits: int, signed: bool = False) -> str:
    """Write an interval; nothing where there is none.

    >>> span(1.0, 2.0, 1), span(float("nan"), float("nan"), 1)
    ('[1.0, 2.0]', '')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{fixed(low, digits, signed)}, {fixed(high, digits, signed)}]"


def count(value: int | None) -> str:
    """Write a large number short, to four digits.

    >>> count(141765), count(8_128_512_000), count(640), count(None)
    ('141.8 k', '8.129 G', '640', '–')
    """
    if value is None:
        return NONE
    for sign, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.4g} {sign}"
    return str(value)


def milliseconds(value: float | None) -> str:
    """Write a latency to three digits.

    >>> milliseconds(12.345), milliseconds(0.5), milliseconds(1234.5), milliseconds(None)
    ('12.3', '0.500', '1234', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    return fixed(value, max(0, min(3, 2 - math.floor(math.log10(value)))) if value > 0 else 0)


def percent(share: float) -> str:
    """Write a share as percent, without the sign.

    >>> percent(0.482), percent(-0.1)
    ('48', '−10')
    """
    return fixed(100 * share, 0)


def p_value(p: float | None) -> str:
    """Write a p-value.

    >>> p_value(0.0312), p_value(0.00004), p_value(1.0)
    ('0.031', '<0.001', '1.000')
    """
    if p is None or not math.isfinite(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"
