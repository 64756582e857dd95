"""Scale is measured on small comparisons and data sets; work that grows is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import many_files, many_runs
from i2ikd.experiment import scores


def test_a_comparison_is_measured_from_planning_to_the_report(
    monkeypatch: pytest.MonkeyPatch, drawn_once: None
) -> None:
    """The origin of scores, with the keys of all slices, is computed once for all networks of a comparison."""
    original, keys = scores.digest, list[Any]()

    def spy(value: Any) -> str:
        keys.extend([value] if isinstance(value, list) and value and len(value[0]) == 3 else [])
        return original(value)

    monkeypatch.setattr(scores, "digest", spy)
    monkeypatch.setattr(many_runs, "opening", lambda page: None)
    rows = many_runs.rows(arms=2, seeds=2, rounds=1)
    assert [row.name for row in rows[:2]] == ["planning", "scheduling the runs, without training"]
    assert all(row.value.median > 0 for row in rows)
    assert len(keys) == 2, "of two comparisons"


def test_many_files_are_measured(tmp_path: Path) -> None:
    many_files.write_volumes(tmp_path / "data", 16)
    found = many_files.measure(tmp_path / "data")
    assert found["volumes"] == 16 and found["resident"] >= found["base"] > 0
    assert all(found[step] > 0 for step in ("list", "digest", "again", "inventory", "first epoch", "second epoch"))
