"""Loading of a finished comparison; filtering and sorting of its arms."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from i2ikd.errors import UserError
from i2ikd.evaluation.records import write_records
from i2ikd.experiment.costs import Costs, ThreadLatency
from i2ikd.experiment.summary import Comparison, Conclusion
from i2ikd.report.content import table_content
from i2ikd.report.load import load_comparison
from i2ikd.report.select import only, sort_keys, sorted_by


def store(comparison: Comparison, out: Path) -> None:
    """Write the files of ``compare``, with runs behind symbolic links."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "experiment.json").write_text(json.dumps({"name": comparison.name}), encoding="utf-8")
    (out / "results.json").write_text(json.dumps(comparison.as_json()), encoding="utf-8")
    write_records(out / "records.csv", comparison.records)
    for place, (name, history) in enumerate(comparison.histories.items()):
        run = out / "store" / f"run{place}"
        run.mkdir(parents=True)
        (run / "history.json").write_text(json.dumps(history), encoding="utf-8")
        link = out / (name if name.startswith("teacher/") else f"students/{name}")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(run, target_is_directory=True)


def test_a_comparison_is_restored_from_its_folder(comparison: Comparison, tmp_path: Path) -> None:
    comparison = dataclasses.replace(
        comparison,
        control="review",
        higher_is_better=False,
        conclusions=[Conclusion("review is better", "review"), Conclusion("one seed", warning=True)],
    )
    store(comparison, tmp_path / "out")
    loaded = load_comparison(tmp_path / "out")
    assert loaded.conclusions == comparison.conclusions
    assert (loaded.control, loaded.higher_is_better) == ("review", False)
    assert loaded.as_json() == comparison.as_json()
    assert loaded.rows == comparison.rows
    assert loaded.records == comparison.records
    assert loaded.histories == comparison.histories


def test_undefined_numbers_are_restored(make_comparison: Callable[..., Comparison], tmp_path: Path) -> None:
    comparison = make_comparison(seeds=1, volumes=1, latency=False, epochs=0)
    store(comparison, tmp_path)
    loaded = load_comparison(tmp_path)
    assert loaded.as_json() == comparison.as_json()
    row = loaded.row("kd-mri")
    assert row is not None and row.gap_closed is not None and row.gap_closed.gap_too_small is None
    assert loaded.histories == {}


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no folder of a comparison: it has no experiment\.json"):
        load_comparison(tmp_path)


def test_an_unfinished_comparison_is_refused_with_the_command_that_continues_it(
    comparison: Comparison, tmp_path: Path
) -> None:
    store(comparison, tmp_path)
    (tmp_path / "results.json").unlink()
    with pytest.raises(
        UserError, match=r"the comparison 'brain-4x' is unfinished: results\.json is missing; continue it with"
    ):
        load_comparison(tmp_path)


@pytest.mark.parametrize(
    "damaged", ['{"name": "x"}', "[1]", '{"name": "x", "rows": 3', '{"name":1,"metadata":{},"metrics":{},"rows":[{}]}']
)
def test_damaged_results_are_reported_with_the_file(comparison: Comparison, tmp_path: Path, damaged: str) -> None:
    store(comparison, tmp_path)
    (tmp_path / "results.json").write_text(damaged, encoding="utf-8")
    with pytest.raises(UserError, match=r"results\.json"):
        load_comparison(tmp_path)


def test_selected_arms_are_kept_with_baseline_and_teacher(comparison: Comparison) -> None:
    few = only(comparison, ["review", "kd-mri"])
    assert [row.arm for row in few.rows] == ["zero-filled", "teacher", "kd-mri", "review"]
    assert few.rows[2] is comparison.row("kd-mri")
    assert len(comparison.rows) == 10


def test_conclusions_on_arms_that_are_left_out_are_left_out(comparison: Comparison) -> None:
    arms = ("teacher", "review", "kd-mri", "")
    whole = dataclasses.replace(comparison, conclusions=[Conclusion(f"on {arm}", arm) for arm in arms])
    assert [conclusion.arm for conclusion in only(whole, ["review"]).conclusions] == ["teacher", "review", ""]


def test_an_unknown_arm_and_an_empty_selection_are_refused(comparison: Comparison) -> None:
    with pytest.raises(UserError, match=r"no arm 'kdmri'; did you mean 'kd-mri'\?"):
        only(comparison, ["kdmri"])
    with pytest.raises(UserError, match="names no arm"):
        only(comparison, [])


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("psnr", "channel-wise", "student"),
        ("nmse", "channel-wise", "student"),
        ("arm", "attention", "student"),
        ("gap_closed", "channel-wise", "student"),
        ("difference", "channel-wise", "student"),
        ("difference_to_control", "channel-wise", "control"),
    ],
)
def test_arms_are_sorted_best_first_below_baseline_and_teacher(
    comparison: Comparison, column: str, first: str, last: str
) -> None:
    rows = sorted_by(comparison, column).rows
    assert [row.arm for row in rows[:2]] == ["zero-filled", "teacher"]
    assert (rows[2].arm, rows[-1].arm) == (first, last)


def test_arms_are_sorted_by_every_cost_of_the_table(comparison: Comparison) -> None:
    """Every column has an order of its own; an arm whose cost was not measured is last."""
    costs = {
        "teacher": Costs(90, 900, 9.0, latencies=[ThreadLatency(1, 9.0, 0.1, 9.0), ThreadLatency(4, 5.0, 0.1)]),
        "student": Costs(
            30, 100, 3.0, bytes=400, latencies=[ThreadLatency(1, 3.0, 0.1, 1.0), ThreadLatency(4, 2.0, 0.1)]
        ),
        "control": Costs(
            10, 300, 1.0, bytes=500, latencies=[ThreadLatency(1, 1.0, 0.1, 3.0), ThreadLatency(4, 1.5, 0.1)]
        ),
        "review": Costs(20, 200, 2.0, file="model.onnx"),
    }
    rows = [dataclasses.replace(row, costs=costs[row.arm]) for row in comparison.rows if row.arm in costs]
    few = dataclasses.replace(comparison, rows=rows)
    orders = {
        "params": ["control", "review", "student"],
        "macs": ["student", "review", "control"],
        "bytes": ["student", "control", "review"],
        "latency_ms": ["control", "review", "student"],
        "latency_ms_4": ["control", "student", "review"],
        "cpu_ms": ["student", "control", "review"],
        "speedup": ["student", "control", "review"],
        "Size": ["student", "control", "review"],
        "speed-up": ["student", "control", "review"],
    }
    for column, expected in orders.items():
        assert [row.arm for row in sorted_by(few, column).rows if row.kind == "arm"] == expected, column
    numeric = {column.key for column in table_content(few).columns} - {"arm", "runtime"}
    assert numeric <= set(sort_keys(few))
    with pytest.raises(UserError, match=r"cannot sort by 'runtime': unknown column"):
        sorted_by(few, "runtime")


def test_sorting_by_equal_values_preserves_the_order(comparison: Comparison) -> None:
    assert sorted_by(comparison, "params").rows == comparison.rows
    assert "latency_ms" in sort_keys(comparison)


def test_an_unknown_column_is_refused_with_the_nearest_name(comparison: Comparison) -> None:
    for wrong, right in (("pnsr", "psnr"), ("byte", "bytes"), ("latency", "latency_ms")):
        with pytest.raises(UserError, match=rf"cannot sort by '{wrong}': unknown column; did you mean '{right}'"):
            sorted_by(comparison, wrong)
