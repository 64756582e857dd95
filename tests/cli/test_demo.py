"""``i2ikd demo``: the packaged experiments are fair, and the command trains, concludes and reuses."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from i2ikd.config import check_experiment
from i2ikd.experiment.budget import student_epochs, unequal_budgets
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.levers import missing_levers
from i2ikd.registry import default_registry

SMALL = (
    *("-o", "task.dataset.train=2", "-o", "task.dataset.val=1", "-o", "task.dataset.test=2"),
    *("-o", "task.dataset.slices=2", "-o", "task.dataset.size=[32, 32]"),
    *("-o", "training.epochs=2", "-o", "arms.kd-mri.feature_epochs=1", "-o", "arms.kd-mri.epochs=1"),
    *("-o", "teacher.channels=4", "-o", "student.channels=4", "-o", "training.device=cpu"),
    *("-o", "training.precision=fp32", "-o", "comparison.latency=false"),
)


@pytest.fixture
def graph(tmp_path: Path) -> RunGraph:
    text = resources.files("i2ikd_mri_recon").joinpath("demo.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    document["training"] |= {"precision": "fp32", "device": "cpu"}
    return RunGraph(ExperimentContext(check_experiment(document, "demo"), default_registry(), tmp_path))


def test_every_arm_has_the_epochs_of_the_control_and_a_teacher_with_its_levers(graph: RunGraph) -> None:
    experiment = graph.context.experiment
    assert [arm.name for arm in experiment.arms] == ["student", "plain-teacher", "kd-mri", "control", "recommended"]
    assert {student_epochs(graph.arm_run(arm, 0)) for arm in experiment.arms} == {48}
    assert unequal_budgets(graph, experiment.arms, 0) == missing_levers(graph, experiment.arms, 0) == []


def test_a_run_has_1152_steps(graph: RunGraph) -> None:
    slices, training = len(graph.context.dataset("train")), graph.context.training
    assert slices % training.batch == 0
    assert slices // training.batch * training.epochs == 1152


def test_the_demo_prints_what_beats_what_and_trains_once(
    i2ikd: Any, tmp_path: Path, drawn_once: None, without_report: None, optimiser_steps: Any
) -> None:
    out = tmp_path / "demo"
    answer = i2ikd("demo", "--out", out, "--processes", 1, *SMALL)
    assert answer.code == 0 and "Traceback" not in answer.err
    assert optimiser_steps.count == 6 * 2 * 1, "the teacher and five arms, two epochs of one batch of four"
    assert "warning: arm" not in answer.out + answer.err
    lines = [entry["text"] for entry in json.loads((out / "results.json").read_text("utf-8"))["conclusions"]]
    words = " ".join(answer.out.split())
    assert all(line in words for line in lines)
    heads = [line.partition(":")[0] for line in lines if not line.startswith("warning: not clearly better than")]
    assert len(heads) == 7 and (heads[0], heads[-1]) == ("verdict", "next")
    assert [line for line in lines if "recommended" in line] and [line for line in lines if "kd-mri" in line]
    again = i2ikd("demo", "--out", out, "--processes", 1, *SMALL)
    assert again.code == 0 and optimiser_steps.count == 12
    assert all(line in " ".join(again.out.split()) for line in lines)
