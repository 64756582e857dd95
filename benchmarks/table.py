"""Table of the measurements: a row for each ratio, with its spread, its target and the underlying figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Spread


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        group: Group of the row.
        name: Name of the measurement.
        value: Median and quartiles over the rounds.
        unit: Unit of the value; ``x`` is a ratio.
        reach: Target of the median; ``None``: no target.
        at_least: Whether the target is a lower bound.
        detail: Underlying figures.
    """

    group: str
    name: str
    value: Spread
    unit: str = "x"
    reach: float | None = None
    at_least: bool = True
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; ``None`` without a target."""
        if self.reach is None:
            return None
        return self.value.median >= self.reach if self.at_least else self.value.median <= self.reach

    def as_json(self) -> dict[str, Any]:
        """Return the row as a JSON-able dict."""
        value = self.value
        return {
            "group": self.group,
            "name": self.name,
            "median": value.median,
            "low": value.low,
            "high": value.high,
            "rounds": list(value.rounds),
            "unit": self.unit,
            "reach": self.reach,
            "at_least": self.at_least,
            "met": self.met,
            "detail": self.detail,
        }


def number(value: float) -> str:
    """Format a number with three significant digits, without an exponent.

    >>> [number(value) for value in (0.01234, 0.5, 1.234, 123.4, 12345.0)]
    ['0.0123', '0.5', '1.23', '123', '12345']
    """
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:.{max(0, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def print_table(rows: Sequence[Row], description: Mapping[str, Any], console: Console) -> None:
    """Print the description of the machine, then the rows, separated by group."""
    console.print(
        ", ".join(f"{name} {value}" for name, value in description.items() if value is not None), highlight=False
    )
    table = Table("", "", "median", "quartiles", "reach", "", "detail")
    for column in (2, 3, 4):
        table.columns[column].justify = "right"
        table.columns[column].no_wrap = True
    for place, row in enumerate(rows):
        begins = place == 0 or rows[place - 1].group != row.group
        ends = place + 1 == len(rows) or rows[place + 1].group != row.group
        sign = "" if row.reach is None else ("≥ " if row.at_least else "≤ ") + number(row.reach)
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[row.met]
        span = f"{number(row.value.low)} - {number(row.value.high)}" if len(row.value.rounds) > 1 else ""
        middle = f"{number(row.value.median)} {row.unit}".rstrip()
        group = row.group if begins else ""
        table.add_row(group, row.name, middle, span, sign, verdict, row.detail, end_section=ends)
    console.print(table)
