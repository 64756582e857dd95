"""Metrics that an experiment adds to those of its task, with options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import i2ikd
from i2ikd import UserError
from i2ikd.experiment.compare import compare
from i2ikd.experiment.metrics import table_metrics


class Exceeding:
    """Share of pixels whose error exceeds a threshold."""

    higher_is_better = False
    scope = "slice"

    def __init__(self, threshold: float = 0.1) -> None:
        self.threshold = threshold

    def __call__(self, prediction: np.ndarray, target: np.ndarray) -> float:
        return float((np.abs(prediction - target) > self.threshold).mean())


class Plugin:
    @i2ikd.hookimpl
    def register_metrics(self, register: Any) -> None:
        register("exceeding-slice", Exceeding)


ADDED = "comparison.metrics={mae='mae-slice', far={name='exceeding-slice', threshold=0.25}, near='exceeding-slice'}"


def graph_of(laboratory: Any, *overrides: str) -> Any:
    return laboratory.graph(*overrides, arms=[{"name": "student"}], plugins=(Plugin(),))


def test_columns_follow_those_of_the_task(laboratory: Any) -> None:
    columns, metrics = table_metrics(graph_of(laboratory, ADDED).context)
    assert list(columns) == ["psnr", "ssim", "nmse", "hfn", "mae", "far", "near"]
    assert columns["far"] == "exceeding-slice(threshold=0.25)" and columns["near"] == "exceeding-slice"
    assert metrics[columns["far"]].threshold == 0.25 and metrics[columns["near"]].threshold == 0.1  # type: ignore[attr-defined]


def test_options_are_those_that_the_table_is_computed_with(laboratory: Any) -> None:
    graph = graph_of(laboratory, ADDED, "task.input=magnitude")  # the input is then the zero-filled row's image
    comparison = compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    test = graph.context.dataset("test")
    errors = [(test[i].input - test[i].target).abs()[0].numpy() for i in range(len(test))]
    found = [record.scores for record in comparison.records if record.arm == "zero-filled"]
    for error, record in zip(errors, found, strict=True):
        assert record["mae-slice"] == pytest.approx(float(error.astype(np.float64).mean()), rel=1e-5)
        assert record["exceeding-slice(threshold=0.25)"] == pytest.approx(float((error > 0.25).mean()))
        assert record["exceeding-slice"] == pytest.approx(float((error > 0.1).mean()))
    row = comparison.row("zero-filled")
    assert row is not None and row.metrics["near"].mean >= row.metrics["far"].mean
    assert comparison.as_json()["metrics"]["far"] == "exceeding-slice(threshold=0.25)"


def test_another_option_is_scored_again(laboratory: Any) -> None:
    lines: list[str] = []
    for override in (ADDED, ADDED.replace("0.25", "0.5")):
        graph = graph_of(laboratory, override)
        compare(graph, graph.context.experiment.arms, [0], log=lines.append)
    again = [line.partition(":")[0] for line in lines if "scored again from its weights" in line]
    assert again == ["teacher/seed0", "students/student/seed0"]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("'exceding-slice'", "unknown metric 'exceding-slice'; did you mean 'exceeding-slice'"),
        ("{name='exceeding-slice', treshold=1}", "metric of the column 'far': unknown option 'treshold'"),
    ],
)
def test_a_wrong_one_is_refused_before_training(
    metric: str, message: str, laboratory: Any, optimiser_steps: Any
) -> None:
    graph = graph_of(laboratory, f"comparison.metrics={{far={metric}}}")
    with pytest.raises(UserError, match=message):
        compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
    assert optimiser_steps.count == 0
