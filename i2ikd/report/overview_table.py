"""Terminal form of an overview: a line per arm and comparison, and one per arm for the mean over comparisons."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed
from i2ikd.experiment.overview import Overview
from i2ikd.report import numbers
from i2ikd.report.table import wide_enough

_LEGEND = (
    "Δ: paired difference, 95 % bootstrap interval over subjects and seeds; gap closed: share of the gap between "
    "student (0 %) and teacher (100 %); mean: each comparison counts equally, and the gap closed is the share of the "
    "mean gap"
)


def print_overview(overview: Overview, console: Console) -> None:
    """Print an overview of several comparisons.

    Args:
        overview: to print.
        console: the output; output that is not a terminal has at least 100 columns.
    """
    digits = numbers.decimals(cell.value for cells in overview.cells.values() for cell in cells.values())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("arm", overflow="fold")
    headings = [overview.column, *(f"Δ {name}" for name in overview.references), "gap closed (%)"]
    for heading in ("seeds", *headings):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm, cells in overview.cells.items():
        table.add_row(Text(arm, style="bold"))
        for comparison, cell in cells.items():
            differences = [_difference(cell.differences.get(name), digits) for name in overview.references]
            value = numbers.fixed(cell.value, digits)
            table.add_row(f" {comparison}", str(len(cell.seeds)), value, *differences, _share(cell.gap_closed))
        means = overview.means.get(arm)
        if means is not None:
            differences = [_difference(means.differences.get(name), digits) for name in overview.references]
            table.add_row(" mean", "", "", *differences, _share(means.gap_closed), style="bold")
        table.add_section()
    with wide_enough(console):
        console.print(table)
        console.print(Text(f"{overview.column}: {overview.metric}; {_LEGEND}", style="dim"))


def _difference(difference: Difference | Estimate | None, digits: int) -> str:
    if difference is None:
        return numbers.NONE
    text = numbers.fixed(difference.mean, digits, signed=True)
    return f"{text} {numbers.span(difference.low, difference.high, digits, signed=True)}".rstrip()


def _share(gap: GapClosed | Estimate | None) -> str:
    if gap is None:
        return numbers.NONE
    text = numbers.fixed(100 * gap.mean, 0)
    return f"{text} {numbers.span(100 * gap.low, 100 * gap.high, 0)}".rstrip()
