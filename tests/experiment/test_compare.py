"""One comparison whole: rows, records, files, references."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from i2ikd import UserError
from i2ikd.engine.run import load_network
from i2ikd.experiment.compare import compare


@pytest.fixture
def made(laboratory: Any) -> Any:
    graph = laboratory.graph("seeds=[0, 4]", 'comparison.references=["kd-mri"]')
    return graph, compare(graph, graph.context.experiment.arms, [0, 4], log=lambda _: None)


def test_what_a_comparison_leaves(made: Any, laboratory: Any) -> None:
    """All outputs of one comparison, which takes a second."""
    graph, comparison = made
    out = laboratory.folder / "out"
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    _has_a_row_for_everything(results)
    _has_a_record_for_everything(out)
    _has_scores_that_an_oracle_gives(graph, comparison)
    _has_closure_and_differences(results)
    assert set(comparison.histories) == {
        f"{n}/seed{s}" for n in ("teacher", "student", "control", "kd-mri") for s in (0, 4)
    }
    assert results["metadata"]["seeds"] == "0, 4" and results["metadata"]["slices"] == "train 4, val 2, test 4"
    assert results["metrics"]["psnr"] == "psnr-volume-max"


def _has_a_row_for_everything(results: dict[str, Any]) -> None:
    rows = {row["arm"]: row for row in results["rows"]}
    assert [(row["arm"], row["kind"]) for row in results["rows"]] == [
        ("zero-filled", "baseline"), ("teacher", "teacher"), ("student", "arm"), ("control", "arm"), ("kd-mri", "arm"),
    ]  # fmt: skip
    for arm, row in rows.items():
        for metric in ("psnr", "ssim", "nmse", "hfn"):
            assert row[metric].keys() >= {"mean", "low", "high", "n"}
            assert row[metric]["low"] <= row[metric]["mean"] <= row[metric]["high"]
            assert row[metric]["n"] > 0
        assert (row["params"] is None) == (arm == "zero-filled")
        assert row["latency_ms"] is None, "comparison.latency = false"
    # 3x3 convolutions: 1 -> 4, (depth - 2) x 4 -> 4, 4 -> 1, two cascades
    assert rows["student"]["params"] == 2 * ((9 + 1) * 4 + (36 + 1) * 4 + 36 + 1)
    assert rows["teacher"]["params"] == rows["student"]["params"] + 2 * (36 + 1) * 4


def _has_a_record_for_everything(out: Any) -> None:
    with (out / "records.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    keys = [(line["arm"], line["seed"], line["subject"], line["volume"], line["slice"]) for line in lines]
    assert len(keys) == len(set(keys)) == 4 + 4 * 2 * 4, "zero-filled once; four networks with two seeds"
    assert {line["seed"] for line in lines if line["arm"] == "kd-mri"} == {"0", "4"}


def _has_scores_that_an_oracle_gives(graph: Any, comparison: Any) -> None:
    """PSNR of each test volume from the saved weights, by scikit-image."""
    network = load_network(graph.context.registry, graph.arm_run(graph.context.experiment.arm("kd-mri"), 4).folder)
    dataset = graph.context.dataset("test")
    volumes: dict[str, list[Any]] = {}
    for index, key in enumerate(dataset.keys):
        sample = dataset[index]
        with torch.no_grad():
            conditions = {name: value[None] for name, value in sample.conditions.items()}
            output = network(sample.input[None], **conditions)[0, 0].numpy()
        volumes.setdefault(key.volume, []).append((output, sample.target[0].numpy()))
    for name, slices in volumes.items():
        prediction, target = (np.stack(part).astype(np.float64) for part in zip(*slices, strict=True))
        expected = peak_signal_noise_ratio(target, prediction, data_range=target.max())
        found = {
            r.scores["psnr-volume-max"] for r in comparison.records if r.volume == name and r.arm == "kd-mri" and r.seed
        }
        assert len(found) == 1 and found.pop() == pytest.approx(expected, abs=1e-3)


def _has_closure_and_differences(results: dict[str, Any]) -> None:
    rows = {row["arm"]: row for row in results["rows"]}
    assert results["references"] == ["student", "control", "kd-mri"]
    assert rows["student"]["gap_closed"] is None and rows["teacher"]["gap_closed"] is None
    assert rows["kd-mri"]["gap_closed"] is not None
    difference = rows["kd-mri"]["differences"]["student"]
    assert difference["mean"] == pytest.approx(
        rows["kd-mri"]["psnr"]["mean"] - rows["student"]["psnr"]["mean"], abs=1e-6
    )
    assert "kd-mri" not in rows["kd-mri"]["differences"]


def test_lockstep_gives_the_same_results(laboratory: Any) -> None:
    one, other = laboratory.graph(out="one"), laboratory.graph(out="other")
    compare(one, one.context.experiment.arms, [0], log=lambda _: None)
    compare(other, other.context.experiment.arms, [0], log=lambda _: None, lockstep=True)
    for name in ("results.json", "records.csv"):
        assert (laboratory.folder / "one" / name).read_text() == (laboratory.folder / "other" / name).read_text()


def test_a_given_teacher_has_one_row_without_a_seed(laboratory: Any) -> None:
    from i2ikd.experiment.schedule import train_teacher

    given = train_teacher(laboratory.graph(out="teacher"), 0, log=lambda _: None).folder.path
    graph = laboratory.graph(f"teacher.weights={given}", "seeds=[0, 1]", arms=[{"name": "student"}])
    comparison = compare(graph, graph.context.experiment.arms, [0, 1], log=lambda _: None)
    assert {record.seed for record in comparison.records if record.arm == "teacher"} == {-1}
    assert {record.seed for record in comparison.records if record.arm == "student"} == {0, 1}


def test_some_arms_alone_have_a_table_too(laboratory: Any) -> None:
    graph = laboratory.graph()
    comparison = compare(graph, [graph.context.experiment.arm("kd-mri")], [0], log=lambda _: None)
    assert [row.arm for row in comparison.rows] == ["zero-filled", "teacher", "kd-mri"]
    assert comparison.rows[-1].gap_closed is None, "there is no plain student to count from"


def test_latency_is_measured_if_requested(laboratory: Any) -> None:
    graph = laboratory.graph("comparison.latency=true", arms=[{"name": "student"}, {"name": "control", "stages": 2}])
    comparison = compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    teacher, student, control = (comparison.row(name).costs for name in ("teacher", "student", "control"))  # type: ignore[union-attr]
    assert student == control, "one architecture is timed once"
    assert student.latency_ms > 0 and teacher.macs > student.macs > 0


def test_further_references_are_stated(laboratory: Any) -> None:
    """Without any, differences are to the plain student and to the control; stated ones come after them."""
    arms = [{"name": "a"}, {"name": "b", "stages": 2}, {"name": "c", "recipe": "imitation"}]
    changes = ("comparison.student=a", "comparison.control=absent-control")
    with pytest.raises(UserError, match=r"comparison\.control names no arm"):
        laboratory.graph(*changes, arms=arms)
    graph = laboratory.graph("comparison.student=a", 'comparison.references=["c"]', arms=arms)
    comparison = compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    assert comparison.references == ["a", "c"]
    rows = {row.arm: row for row in comparison.rows}
    assert {name: sorted(rows[name].differences) for name in "abc"} == {"a": ["c"], "b": ["a", "c"], "c": ["a"]}
    psnr = {name: rows[name].metrics["psnr"].mean for name in "abc"}
    assert rows["b"].differences["c"].mean == pytest.approx(psnr["b"] - psnr["c"], abs=1e-6)
