"""Terminal form of a comparison: one table if it fits the width, else several with groups of columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from i2ikd.evaluation.statistics import Estimate
from i2ikd.experiment.summary import Comparison
from i2ikd.report import numbers
from i2ikd.report.content import Cell, Column, Content, Line, table_content
from i2ikd.report.legend import legend, metadata_line

_PLAIN_WIDTH = 100
"""Least width of output that is not a terminal, in columns."""

_ORDER = ("metric", "gap_closed", "difference", "rank", "cost")
"""Order of the column groups where several tables are needed."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print metadata, table, legend and conclusions of a comparison.

    Args:
        comparison: the results to print.
        console: the output; output that is not a terminal has at least 100 columns.
    """
    content = table_content(comparison)
    with wide_enough(console):
        console.print(Text(comparison.name, style="bold"))
        console.print(Text(metadata_line(comparison)))
        for table in _fitting(content, console):
            console.print(table)
        console.print(_legend(comparison))
        for conclusion in comparison.conclusions:
            console.print(Text(conclusion.text, style="bold yellow" if conclusion.warning else ""))


def print_scores(scores: Mapping[str, Mapping[str, Estimate]], split: str, console: Console | None = None) -> None:
    """Print the scores of ``evaluate``, one row per baseline and network.

    Args:
        scores: estimates by row and column.
        split: name of the evaluated split.
        console: the output; stdout when ``None``.
    """
    console = console or Console()
    columns = list(dict.fromkeys(column for estimates in scores.values() for column in estimates))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{split} split", no_wrap=True)
    digits = {c: numbers.decimals(row[c].mean for row in scores.values() if c in row) for c in columns}
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, estimates in scores.items():
        table.add_row(name, *(_score(estimates.get(column), digits[column]) for column in columns))
    with wide_enough(console):
        console.print(table)
        console.print(Text("[low, high]: 95 % bootstrap interval over subjects", style="dim"))


@contextlib.contextmanager
def wide_enough(console: Console) -> Iterator[None]:
    """Widen output that is not a terminal to at least 100 columns."""
    width = console.width
    if not console.is_terminal:
        console.width = max(width, _PLAIN_WIDTH)
    try:
        yield
    finally:
        console.width = width


def _score(estimate: Estimate | None, digits: int) -> str:
    """Format a mean with its interval below."""
    if estimate is None:
        return numbers.NONE
    return f"{numbers.fixed(estimate.mean, digits)}\n{numbers.span(estimate.low, estimate.high, digits)}".rstrip()


def _fitting(content: Content, console: Console) -> list[Table]:
    """Return one table if it fits, with intervals beside or below the means; else as few tables as possible."""
    width = console.width
    for stacked in (False, True):
        table = _table(content, content.columns, stacked)
        if _width(table, console) <= width:
            return [table]
    tables = []
    arm, remaining = content.column("arm"), sorted(content.columns[1:], key=lambda column: _ORDER.index(column.part))
    while remaining:
        group = [remaining.pop(0)]
        while remaining and _width(_table(content, [arm, *group, remaining[0]], stacked=True), console) <= width:
            group.append(remaining.pop(0))
        tables.append(_narrow(content, [arm, *group], console))
    return tables


def _narrow(content: Content, columns: Sequence[Column], console: Console) -> Table:
    """Return a table with intervals beside the means if it fits, else below them."""
    table = _table(content, columns, stacked=False)
    return table if _width(table, console) <= console.width else _table(content, columns, stacked=True)


def _width(table: Table, console: Console) -> int:
    """Return a table's natural width in columns."""
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


def _table(content: Content, columns: Sequence[Column], stacked: bool) -> Table:
    """Build a table; ``stacked`` writes intervals below the means."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        heading = column.heading.replace(" (", "\n(", 1) if stacked else column.heading
        table.add_column(Text(heading), justify="left" if column.key == "arm" else "right", no_wrap=True)
    previous = ""
    for line in content.lines:
        if line.kind != previous and previous:
            table.add_section()
        previous = line.kind
        style = "dim" if line.kind == "baseline" else ""
        table.add_row(*(_text(line, column, stacked) for column in columns), style=style)
    return table


def _text(line: Line, column: Column, stacked: bool) -> Text:
    """Return one cell; interval and remark dimmed."""
    cell: Cell = line.cells[column.key]
    text = Text(cell.text, style="bold" if column.key in line.best else "")
    below = (("  ", cell.remark), ("\n", cell.interval))
    beside = ((" ", cell.interval), (" ", cell.remark))
    for gap, part in below if stacked else beside:
        if part:
            text.append(gap).append(part, style="dim")
    return text


def _legend(comparison: Comparison) -> Table:
    """Return terms and definitions as a grid."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(style="dim")
    for term, explanation in legend(comparison):
        table.add_row(Text(term), Text(explanation))
    return table
