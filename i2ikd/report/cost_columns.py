"""Columns of the costs: parameters, MACs, and of delivered files size, runtime, latency and speed-up."""

from __future__ import annotations

from collections.abc import Iterable

from i2ikd.experiment.summary import Comparison, Row
from i2ikd.report import numbers
from i2ikd.report.cells import Cell, Column


def cost_columns(comparison: Comparison) -> list[Column]:
    """Return the columns of the costs in display order.

    Size, runtime and speed-up are columns where rows are delivered files. Latency has a column for each number of
    threads.

    Args:
        comparison: the results.
    """
    columns = [Column("params", "params", part="cost"), Column("macs", "MACs", part="cost")]
    if has_files(comparison):
        columns += [Column("bytes", "size", "KiB", part="cost"), Column("runtime", "runtime", part="cost")]
    counts = thread_counts(comparison)
    for index, threads in enumerate(counts):
        title = "CPU" if len(counts) == 1 else f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"
        columns.append(Column("latency_ms" if index == 0 else f"latency_ms_{threads}", title, "ms", part="cost"))
    if not counts and any(row.costs is not None and row.costs.latency_ms is not None for row in comparison.rows):
        columns.append(Column("latency_ms", "CPU", "ms", part="cost"))
    if has_files(comparison) and counts:
        columns += [Column("cpu_ms", "CPU time", "ms", part="cost"), Column("speedup", "speed-up", part="cost")]
    return columns


def cost_cells(row: Row, teacher: Row | None, columns: Iterable[Column]) -> dict[str, Cell]:
    """Return the cells of the costs of a row, by column key.

    Args:
        row: of the table.
        teacher: whose latency in eager mode the speed-up refers to; ``None``: there is no speed-up.
        columns: of the table.
    """
    costs = row.costs
    cells = dict.fromkeys((column.key for column in columns if column.part == "cost"), Cell(numbers.NONE))
    if costs is None:
        return cells
    cells["params"] = Cell(numbers.count(costs.params), value=costs.params)
    cells["macs"] = Cell(numbers.count(costs.macs), value=costs.macs)
    cells["runtime"] = Cell(f"{costs.runtime}, {costs.precision}")
    cells["latency_ms"] = Cell(numbers.milliseconds(costs.latency_ms), value=costs.latency_ms)
    if costs.bytes is not None:
        cells["bytes"] = Cell(numbers.fixed(costs.bytes / 1024, 0), value=costs.bytes)
    if costs.latencies:
        cells["cpu_ms"] = Cell(numbers.milliseconds(costs.latencies[0].cpu_ms), value=costs.latencies[0].cpu_ms)
    for latency in costs.latencies[1:]:
        text = numbers.milliseconds(latency.median_ms)
        cells[f"latency_ms_{latency.threads}"] = Cell(text, value=latency.median_ms)
    speedup = speedup_over(row, teacher)
    if speedup is not None:
        cells["speedup"] = Cell(f"{numbers.fixed(speedup, 1)}×", value=speedup)
    return cells


def speedup_over(row: Row, teacher: Row | None) -> float | None:
    """Return the teacher's time over a row's, with the first number of threads; ``None`` if not measured.

    With one thread it is CPU time, because other programs of a busy machine lengthen a long call by another factor than
    a short one; with several threads, whose waiting is CPU time too, it is latency.

    Args:
        row: of the table.
        teacher: the teacher's row.
    """
    if row.costs is None or teacher is None or teacher.costs is None:
        return None
    if not row.costs.latencies or not teacher.costs.latencies:
        return None
    ours, theirs = row.costs.latencies[0], teacher.costs.latencies[0]
    own, reference = (ours.cpu_ms, theirs.cpu_ms) if ours.threads == 1 else (ours.median_ms, theirs.median_ms)
    return reference / own if own and reference else None


def has_files(comparison: Comparison) -> bool:
    """Whether a row is a delivered file.

    Args:
        comparison: the results.
    """
    return any(row.costs is not None and row.costs.file is not None for row in comparison.rows)


def thread_counts(comparison: Comparison) -> list[int]:
    """Return the numbers of threads that latency was measured with, in order.

    Args:
        comparison: the results.
    """
    counts = [latency.threads for row in comparison.rows if row.costs for latency in row.costs.latencies]
    return list(dict.fromkeys(counts))
