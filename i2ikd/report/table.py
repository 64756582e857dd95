"""The comparison as tables on a terminal: one where it fits, else quality and costs one below the other."""

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
from i2ikd.report.content import Cell, Column, Content, Line, pivot
from i2ikd.report.legend import legend, metadata_line

_PLAIN_WIDTH = 100
"""Least width when the output is no terminal, whose width nobody knows."""

_ORDER = ("metric", "closure", "difference", "rank", "cost")
"""What comes first where not everything fits into one table."""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what was measured on, the table, and what its columns mean."""
    content = pivot(comparison)
    with _wide_enough(console):
        console.print(Text(comparison.name, style="bold"))
        console.print(Text(metadata_line(comparison)))
        for table in _fitting(content, console):
            console.print(table)
        console.print(_legend(comparison))


def print_scores(scores: Mapping[str, Mapping[str, Estimate]], split: str, console: Console | None = None) -> None:
    """Print the scores of ``evaluate``: a row each for the task's baselines and the network."""
    console = console or Console()
    columns = list(dict.fromkeys(column for estimates in scores.values() for column in estimates))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"{split} split", no_wrap=True)
    digits = {c: numbers.decimals(row[c].mean for row in scores.values() if c in row) for c in columns}
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, estimates in scores.items():
        table.add_row(name, *(_score(estimates.get(column), digits[column]) for column in columns))
    with _wide_enough(console):
        console.print(table)
        console.print(Text("[low, high]: 95 % bootstrap interval over volumes", style="dim"))


@contextlib.contextmanager
def _wide_enough(console: Console) -> Iterator[None]:
    """Give output that is no terminal at least ``_PLAIN_WIDTH`` columns."""
    width = console.width
    if not console.is_terminal:
        console.width = max(width, _PLAIN_WIDTH)
    try:
        yield
    finally:
        console.width = width


def _score(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return numbers.NONE
    return f"{numbers.fixed(estimate.mean, digits)}\n{numbers.span(estimate.low, estimate.high, digits)}".rstrip()


def _fitting(content: Content, console: Console) -> list[Table]:
    """Return one table if it fits, with intervals beside or below the means; else as few as hold all columns."""
    width = console.width
    for stacked in (False, True):
        table = _table(content, content.columns, stacked)
        if _width(table, console) <= width:
            return [table]
    tables = []
    arm, waiting = content.column("arm"), sorted(content.columns[1:], key=lambda column: _ORDER.index(column.part))
    while waiting:
        taken = [waiting.pop(0)]
        while waiting and _width(_table(content, [arm, *taken, waiting[0]], stacked=True), console) <= width:
            taken.append(waiting.pop(0))
        tables.append(_narrow(content, [arm, *taken], console))
    return tables


def _narrow(content: Content, columns: Sequence[Column], console: Console) -> Table:
    table = _table(content, columns, stacked=False)
    return table if _width(table, console) <= console.width else _table(content, columns, stacked=True)


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=10_000), table).maximum


def _table(content: Content, columns: Sequence[Column], stacked: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        heading = column.heading.replace(" (", "\n(", 1) if stacked else column.heading
        table.add_column(Text(heading), justify="left" if column.key == "arm" else "right", no_wrap=True)
    last = ""
    for line in content.lines:
        if line.kind != last and last:
            table.add_section()
        last = line.kind
        style = "dim" if line.kind == "baseline" else ""
        table.add_row(*(_text(line, column, stacked) for column in columns), style=style)
    return table


def _text(line: Line, column: Column, stacked: bool) -> Text:
    cell: Cell = line.cells[column.key]
    text = Text(cell.text, style="bold" if column.key in line.best else "")
    below = (("  ", cell.remark), ("\n", cell.interval))
    beside = ((" ", cell.interval), (" ", cell.remark))
    for gap, part in below if stacked else beside:
        if part:
            text.append(gap).append(part, style="dim")
    return text


def _legend(comparison: Comparison) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(style="dim")
    for term, explanation in legend(comparison):
        table.add_row(Text(term), Text(explanation))
    return table
