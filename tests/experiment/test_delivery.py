"""A bundle states its origin without paths of the machine, and brings the task that reads new files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.experiment.delivery import bundle_task, origin_of, without_paths
from i2ikd.registry import default_registry


def test_the_origin_of_a_run_names_its_row_and_its_papers(laboratory: Any) -> None:
    graph = laboratory.graph()
    run = laboratory.train(graph, "kd-mri")
    out = laboratory.folder / "out"
    (out / "experiment.json").write_text("{}")
    origin = origin_of(out / "students" / "kd-mri" / "seed0", run.folder, graph.context)
    assert (origin.name, origin.arm, origin.model) == ("tiny/students/kd-mri/seed0", "kd-mri", "dc-cnn")
    assert origin.task["name"] == "mri-recon" and origin.digest == run.specification.digest
    assert "AT, arXiv:1612.03928; KD-MRI, arXiv:2004.05319" in origin.papers
    assert origin.rows == [] and origin.manifest["effective_batch"] == 2


def test_paths_of_this_machine_are_left_out(tmp_path: Path) -> None:
    section = {"dataset": {"root": str(tmp_path), "name": "folder"}, "files": [tmp_path, "a/b"], "size": [8, 8]}
    assert without_paths(section) == {
        "dataset": {"root": ".", "name": "folder"},
        "files": [".", "a/b"],
        "size": [8, 8],
    }


def test_the_task_of_a_bundle_takes_overrides(tmp_path: Path) -> None:
    document = {"format": 1, "task": {"name": "mri-recon", "dataset": {"name": "phantom"}}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    task = bundle_task(tmp_path, default_registry(), ["task.mode=complex"])
    assert task.network_options() == {"mode": "complex", "centered": False}
    (tmp_path / "config.json").write_text(json.dumps({**document, "format": 2}))
    with pytest.raises(UserError, match="expected a bundle of format 1"):
        bundle_task(tmp_path, default_registry(), [])
