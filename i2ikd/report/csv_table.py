"""CSV form of a comparison: one row per arm, unrounded numbers, empty cells for undefined ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from i2ikd.experiment.summary import Comparison, Row
from i2ikd.report.cost_columns import speedup_over, thread_counts

_COSTS = ("params", "macs", "bytes", "runtime", "precision", "file", "latency_ms", "latency_spread_ms")
_LATENCY = ("median_ms", "spread_ms", "cpu_ms")
_ESTIMATE = ("mean", "low", "high", "n")
_GAP_CLOSED = (*_ESTIMATE, "gap", "gap_too_small")
_DIFFERENCE = ("mean", "low", "high", "p", "p_holm", "n")


def csv_table(comparison: Comparison) -> str:
    """Format a comparison as CSV text.

    Args:
        comparison: the results to write.

    Returns:
        CSV with a header line; columns are named ``psnr_mean``, ``difference_to_student_p_holm``, and so on.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    header = ["arm", "kind", *_COSTS, "speedup"]
    header += [f"latency_{threads}_threads_{part}" for threads in thread_counts(comparison) for part in _LATENCY]
    header += [f"{column}_{part}" for column in comparison.columns for part in _ESTIMATE]
    header += [f"gap_closed_{part}" for part in _GAP_CLOSED]
    header += [f"difference_to_{name}_{part}" for name in comparison.references for part in _DIFFERENCE]
    table.writerow([*header, "rank"])
    for row in comparison.rows:
        table.writerow([_format(value) for value in _values(row, comparison)])
    return text.getvalue()


def _values(row: Row, comparison: Comparison) -> list[Any]:
    """Return an arm's values in the order of the header."""
    entry = row.as_json()
    values = [row.arm, row.kind, *(entry[cost] for cost in _COSTS), speedup_over(row, comparison.row("teacher"))]
    latencies = {str(latency["threads"]): latency for latency in entry["latencies"] or ()}
    values += _parts(latencies, [str(threads) for threads in thread_counts(comparison)], _LATENCY)
    values += _parts(entry, list(comparison.columns), _ESTIMATE)
    values += _parts(entry, ["gap_closed"], _GAP_CLOSED)
    values += _parts(entry["differences"], comparison.references, _DIFFERENCE)
    return [*values, row.rank]


def _parts(entry: Mapping[str, Any], keys: Sequence[str], parts: tuple[str, ...]) -> list[Any]:
    """Return ``parts`` of each nested object; ``None`` where the object is missing."""
    return [(entry.get(key) or {}).get(part) for key in keys for part in parts]


def _format(value: Any) -> str:
    """Return a cell's text; floats round-trip."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
