"""A complete comparison with tiny networks, on either grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from i2ikd.config import check_experiment
from i2ikd.experiment.compare import compare
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.registry import default_registry

NETWORKS: dict[str, dict[str, Any]] = {
    "target": {"model": "vdsr", "channels": 4},
    "low": {"model": "upsampling-cnn", "channels": 4, "factor": 2},
}


@pytest.mark.parametrize("grid", ["target", "low"])
def test_teacher_student_and_kd_mri_are_compared(grid: str, tmp_path: Path) -> None:
    dataset = {"name": "phantom", "train": 2, "val": 1, "test": 2, "slices": 2, "size": [24, 16]}
    document = {
        "name": "tiny",
        "task": {"name": "mri-sr", "factor": 2, "grid": grid, "dataset": dataset},
        "teacher": {**NETWORKS[grid], "depth": 4},
        "student": {**NETWORKS[grid], "depth": 2},
        "training": {"epochs": 2, "batch": 2, "device": "cpu"},
        "arms": [{"name": "student"}, {"name": "kd-mri", "recipe": "kd-mri", "distiller": "attention"}],
        "comparison": {"latency": False},
    }
    experiment = check_experiment(document, "test")
    graph = RunGraph(ExperimentContext(experiment, default_registry(), tmp_path))
    result = compare(graph, experiment.arms, experiment.seeds, log=lambda text: None)
    rows = {row.arm: row for row in result.rows}
    assert set(rows) == {"zero-filled", "bicubic", "teacher", "student", "kd-mri"}
    assert all(0 < row.metrics["psnr"].mean < 60 for row in rows.values())
    assert rows["zero-filled"].metrics["psnr"].mean != rows["bicubic"].metrics["psnr"].mean
    teacher, student = rows["teacher"].costs, rows["student"].costs
    assert teacher is not None
    assert student is not None
    assert teacher.params > student.params
    assert result.metadata["factor"] == "2"
    assert (tmp_path / "results.json").is_file()
