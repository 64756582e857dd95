"""Formatted cells and columns of the comparison table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Cell:
    """One formatted table cell.

    Attributes:
        text: the formatted value; ``numbers.NONE`` where it is undefined.
        interval: the formatted 95 % interval ``[low, high]``; empty without one.
        remark: an addition such as a formatted p-value; empty without one.
        value: the unformatted number, used for sorting; ``None`` for text and undefined values.
    """

    text: str
    interval: str = ""
    remark: str = ""
    value: float | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.interval, self.remark) if part)


@dataclass(frozen=True)
class Column:
    """One table column.

    Attributes:
        key: identifier, the key of the column's cells in ``Line.cells``.
        title: heading without unit and direction.
        unit: physical unit of the values; empty for dimensionless ones.
        arrow: direction of better values; empty where none is defined.
        part: group of the column, which decides its order in narrow tables.
    """

    key: str
    title: str
    unit: str = ""
    arrow: Literal["", "↑", "↓"] = ""
    part: Literal["arm", "cost", "metric", "gap_closed", "difference", "rank"] = "metric"

    @property
    def heading(self) -> str:
        """Title, unit and direction in one line."""
        return " ".join(part for part in (self.title, f"({self.unit})" if self.unit else "", self.arrow) if part)
