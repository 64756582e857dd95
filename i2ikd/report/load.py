"""Load a finished comparison from its folder; neither data nor weights are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.engine.store import Store
from i2ikd.errors import UserError
from i2ikd.evaluation.records import Record, read_records
from i2ikd.evaluation.statistics import Difference, Estimate, GapClosed
from i2ikd.experiment.folder import read_owner
from i2ikd.experiment.summary import Comparison, Conclusion, Costs, Row
from i2ikd.files import read_json


def load_comparison(out: Path) -> Comparison:
    """Load the results of ``compare``: ``results.json``, ``records.csv`` and the runs' training histories.

    Args:
        out: the comparison's output folder.

    Returns:
        The comparison, equal to the one that ``compare`` returned.

    Raises:
        UserError: ``out`` is not the folder of a comparison, the comparison is unfinished, or a file is damaged.
    """
    owner = read_owner(out)
    results, scores = out / "results.json", out / "records.csv"
    for file in (results, scores):
        if not file.is_file():
            raise UserError(
                f"{out}: the comparison {owner.get('name')!r} is unfinished: {file.name} is missing; "
                f"continue it with `i2ikd compare EXPERIMENT.toml --out {out}`"
            )
        OutputManifest(out).verify(file)
    try:
        content = read_json(results)
        comparison = Comparison(
            name=content["name"],
            metadata=content["metadata"],
            columns=content["metrics"],
            rows=[_row(row, content["metrics"]) for row in content["rows"]],
            records=read_records(scores),
            references=content["references"],
            student=content["student"],
            control=content["control"],
            higher_is_better=content["higher_is_better"],
            conclusions=[Conclusion(**conclusion) for conclusion in content["conclusions"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{results}: expected the format of `i2ikd compare`, got {type(error).__name__}: {error}; run compare again"
        ) from None
    comparison.histories.update(_histories(out, comparison.records))
    return comparison


def _histories(out: Path, records: list[Record]) -> dict[str, list[dict[str, Any]]]:
    """Return the training histories by ``arm/seedN``; runs without one are left out."""
    store = Store(out)
    histories = {}
    for arm, seed in dict.fromkeys((record.arm, record.seed) for record in records):
        folder = store.named(f"teacher/seed{seed}" if arm == "teacher" else f"students/{arm}/seed{seed}")
        history = folder.history() if folder is not None else []
        if history:
            histories[f"{arm}/seed{seed}"] = history
    return histories


def _row(row: dict[str, Any], columns: dict[str, str]) -> Row:
    """Build a row from its JSON object."""
    costs = None
    if row["params"] is not None:
        costs = Costs(row["params"], row["macs"], row["latency_ms"], row["latency_spread_ms"])
    differences = {name: dict(values) for name, values in row["differences"].items()}
    corrected = {name: values.pop("p_holm", None) for name, values in differences.items()}
    return Row(
        arm=row["arm"],
        kind=row["kind"],
        costs=costs,
        metrics={column: Estimate(**_numbers(row[column])) for column in columns},
        gap_closed=GapClosed(**_numbers(row["gap_closed"], keep="gap_too_small")) if row["gap_closed"] else None,
        differences={name: Difference(**_numbers(values)) for name, values in differences.items()},
        corrected={name: p for name, p in corrected.items() if p is not None},
        rank=row["rank"],
    )


def _numbers(values: dict[str, Any], keep: str = "") -> dict[str, Any]:
    """Replace ``null``, JSON's form of an undefined number, by NaN; the value of ``keep`` is left as it is."""
    return {key: math.nan if value is None and key != keep else value for key, value in values.items()}
