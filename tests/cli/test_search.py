"""``i2ikd search``: sizes over the budget are not trained; the page has the smallest student and the Pareto front."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SWEEP = ("-o", "sweep.student.depth=[2,3,4]", "-o", "training.epochs=1")


@pytest.mark.usefixtures("without_report")
def test_the_smallest_student_near_the_teacher_is_found(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arms = 'arms=[{name="control"}, {name="kd-mri", recipe="kd-mri"}]'
    search = ("search", tiny_file, "--out", out, *SWEEP, "-o", arms, "--within", "100")
    result = i2ikd(*search, "--params", "600", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert "not trained: depth4: params 7" in result.err and found["over_budget"][0]["size"] == "depth4"
    assert not list(out.glob("students/*depth4*"))
    assert found["smallest"] in ("control-depth2", "kd-mri-depth2") and found["sorted_by"] == "params"
    by_arm = {one["arm"]: one for one in found["candidates"]}
    assert set(by_arm) == {f"{arm}-depth{depth}" for arm in ("control", "kd-mri") for depth in (2, 3)}
    front = [one for one in found["candidates"] if one["on_front"]]
    assert [one["params"] for one in front] == sorted({one["params"] for one in front})
    assert [one["score"]["mean"] for one in front] == sorted(one["score"]["mean"] for one in front)
    assert by_arm["control-depth2"]["params"] == 2 * (4 * 9 + 4 + 4 * 9 + 1)
    results = {row["arm"]: row for row in json.loads((out / "results.json").read_text())["rows"]}
    for arm, one in by_arm.items():
        assert one["score"] == results[arm]["psnr"]
        assert one["to_teacher"]["mean"] == pytest.approx(one["score"]["mean"] - results["teacher"]["psnr"]["mean"])
    gain = by_arm["kd-mri-depth3"]["to_control"]["mean"]
    assert gain == pytest.approx(by_arm["kd-mri-depth3"]["score"]["mean"] - by_arm["control-depth3"]["score"]["mean"])
    page = (out / "report" / "search.html").read_text("utf-8")
    assert "smallest student within 100 dB of the teacher in psnr" in page and "<svg" in page and "depth4" in page
    again = i2ikd(*search, "--params", "600", "--within", "0")
    assert "no student within the budget is within 0 dB" in again.out or "smallest student within 0 dB" in again.out
    assert "| control-depth2" in again.out
    assert "none of 3 sizes is within the budget" in i2ikd(*search, "--params", "1").error


@pytest.mark.usefixtures("without_report")
def test_latency_and_bytes_are_those_of_the_file_in_its_runtime(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
    arms = 'arms=[{name="control"}]'
    runtime = ("--runtime", "torch-export", "--latency", "2s", "--bytes", "1MB", "--trials", "1")
    sweep = ("-o", "sweep.student.depth=[2,3]", "-o", "training.epochs=1", "-o", arms)
    result = i2ikd("search", tiny_file, "--out", tmp_path / "out", *sweep, *runtime, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["runtime"], found["sorted_by"], len(found["not_chosen"])) == ("torch-export", "latency_ms", 1)
    (candidate,) = found["candidates"]
    assert 0 < candidate["latency_ms"] < 2000 and candidate["bytes"] > 4 * candidate["params"]


def test_limits_are_numbers_with_units(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        error: str = i2ikd("search", tiny_file, "--out", tmp_path / "out", *arguments).error
        return error

    assert "--latency: expected a positive number with a unit of ms, s, got '20'" in refused("--latency", "20")
    assert "--bytes: expected a positive number with a unit of B, kB" in refused("--bytes", "20")
    assert "--params: expected a positive number" in refused("--params", "-3k")
    assert "the experiment 'tiny' sweeps no option" in refused()
    assert not (tmp_path / "out").exists()
