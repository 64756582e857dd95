"""Rows of a comparison from records: what an arm without a score has, and has not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from i2ikd.evaluation.records import Record
from i2ikd.experiment.summary import Comparison, summarise

METRIC = "psnr-slice-max"
LEVELS = {"teacher": 33.0, "student": 30.0, "control": 31.0, "kd": 32.0}


def condensed(levels: dict[str, float]) -> Comparison:
    """Two seeds, three volumes; a level of NaN is an arm whose every slice is undefined."""
    records = [
        Record(arm, seed, volume, volume, 0, {METRIC: level + 0.3 * seed + shift})
        for arm, level in levels.items()
        for seed in (0, 1)
        for volume, shift in (("a", 0.0), ("b", 0.7), ("c", -0.4))
    ]
    kinds: dict[str, Any] = {arm: "teacher" if arm == "teacher" else "arm" for arm in levels}
    upward = {METRIC: True}
    return summarise(
        "c", {}, {"psnr": METRIC}, records, kinds, {}, [a for a in levels if a in ("student", "control")],
        "student", upward,
    )  # fmt: skip


@pytest.mark.parametrize("arm", ["kd", "control", "student", "teacher"])
def test_an_arm_without_any_score_has_no_rank_and_no_difference(arm: str) -> None:
    comparison = condensed({**LEVELS, arm: math.nan})
    row = comparison.row(arm)
    assert row is not None and row.rank is None and row.gap_closed is None and not row.differences
    assert row.as_json()["psnr"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert arm not in comparison.references
    others = [other for other in comparison.rows if other.arm != arm]
    assert all(arm not in other.differences for other in others)
    with_gap = {other.arm for other in comparison.rows if other.gap_closed is not None}
    assert with_gap == {"kd": {"control"}, "control": {"kd"}, "student": set(), "teacher": set()}[arm]
    json.dumps(comparison.as_json(), allow_nan=False)


def test_the_others_rank_as_if_it_were_not_there() -> None:
    whole, without = condensed({**LEVELS, "none": math.nan}), condensed(LEVELS)
    for arm in LEVELS:
        found, expected = whole.row(arm), without.row(arm)
        assert found is not None and expected is not None
        assert (found.rank, found.gap_closed, found.differences) == (
            expected.rank,
            expected.gap_closed,
            expected.differences,
        )
    assert {row.arm: row.rank for row in without.rows} == {"teacher": None, "student": 2, "control": 1, "kd": 1}
