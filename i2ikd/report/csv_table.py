"""The comparison as CSV: every number in full, one row an arm; undefined numbers are empty cells."""

from __future__ import annotations

import csv
import io
from typing import Any

from i2ikd.experiment.summary import Comparison, Row

_COSTS = ("params", "macs", "latency_ms", "latency_spread_ms")
_ESTIMATE = ("mean", "low", "high", "n")
_GAP_CLOSED = (*_ESTIMATE, "gap", "gap_too_small")
_DIFFERENCE = ("mean", "low", "high", "p", "p_holm", "n")


def csv_table(comparison: Comparison) -> str:
    """Return the table; columns are named ``psnr_mean``, ``difference_to_student_p_holm``, and so on."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    head = ["arm", "kind", *_COSTS]
    head += [f"{column}_{part}" for column in comparison.columns for part in _ESTIMATE]
    head += [f"closure_{part}" for part in _GAP_CLOSED]
    head += [f"difference_to_{name}_{part}" for name in comparison.references for part in _DIFFERENCE]
    table.writerow([*head, "rank"])
    for row in comparison.rows:
        table.writerow([_written(value) for value in _values(row, comparison)])
    return text.getvalue()


def _values(row: Row, comparison: Comparison) -> list[Any]:
    whole = row.as_json()
    values = [row.arm, row.kind, *(whole[cost] for cost in _COSTS)]
    values += _parts(whole, list(comparison.columns), _ESTIMATE)
    values += _parts(whole, ["closure"], _GAP_CLOSED)
    values += _parts(whole["differences"], comparison.references, _DIFFERENCE)
    return [*values, row.rank]


def _parts(whole: dict[str, Any], keys: list[str], parts: tuple[str, ...]) -> list[Any]:
    return [(whole.get(key) or {}).get(part) for key in keys for part in parts]


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)
