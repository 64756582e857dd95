"""Number formats of all tables: digits, SI prefixes, intervals, p-values."""

from __future__ import annotations

import math
from collections.abc import Iterable

NONE = "–"
"""Text of an undefined value."""

MINUS = "−"


def decimals(values: Iterable[float], significant: int = 4) -> int:
    """Return the number of decimals that shows ``significant`` digits of the largest value.

    Args:
        values: numbers of one column; those that are not finite are ignored.
        significant: significant digits of the largest absolute value.

    Returns:
        From 2 to 8.

    >>> decimals([34.52, 31.0]), decimals([0.951]), decimals([0.0123])
    (2, 4, 5)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=1.0)
    if largest == 0:
        return 2
    return min(max(significant - 1 - math.floor(math.log10(largest)), 2), 8)


def fixed(value: float | None, digits: int, signed: bool = False) -> str:
    """Format a number with fixed decimals and a typographic minus sign.

    Args:
        value: the number; ``None`` and NaN are undefined.
        digits: number of decimals.
        signed: write a plus sign before positive numbers.

    Returns:
        The text; ``NONE`` for an undefined number.

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
    """Format an interval.

    Args:
        low: lower end.
        high: upper end.
        digits: number of decimals.
        signed: write a plus sign before positive numbers.

    Returns:
        ``[low, high]``; empty where an end is not finite.

    >>> span(1.0, 2.0, 1), span(float("nan"), float("nan"), 1)
    ('[1.0, 2.0]', '')
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{fixed(low, digits, signed)}, {fixed(high, digits, signed)}]"


def count(value: int | None) -> str:
    """Format a count with an SI prefix and at most four significant digits.

    Args:
        value: a count of at least 0; ``None`` is undefined.

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
    """Format a latency with three significant digits.

    Args:
        value: milliseconds, at least 0; ``None`` and NaN are undefined.

    >>> milliseconds(12.345), milliseconds(0.5), milliseconds(1234.5), milliseconds(None)
    ('12.3', '0.500', '1234', '–')
    """
    if value is None or not math.isfinite(value):
        return NONE
    return fixed(value, max(0, min(3, 2 - math.floor(math.log10(value)))) if value > 0 else 0)


def percent(share: float) -> str:
    """Format a fraction as percent, without the unit.

    Args:
        share: 1 corresponds to 100 %.

    >>> percent(0.482), percent(-0.1)
    ('48', '−10')
    """
    return fixed(100 * share, 0)


def p_value(p: float | None) -> str:
    """Format a p-value with three decimals.

    Args:
        p: from 0 to 1; ``None`` and NaN are undefined.

    >>> p_value(0.0312), p_value(0.00004), p_value(1.0)
    ('0.031', '<0.001', '1.000')
    """
    if p is None or not math.isfinite(p):
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"
