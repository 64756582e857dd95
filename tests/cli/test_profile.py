"""``i2ikd profile``: costs of a run's network, or of teacher and student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from i2ikd.cli.profile import command
from i2ikd.config import read_experiment
from i2ikd.engine.build import build_network
from i2ikd.engine.run import save_weights
from i2ikd.engine.run_folder import RunFolder
from i2ikd.engine.store import RunSpecification
from i2ikd.errors import UserError
from i2ikd.registry import default_registry

EXPERIMENT = """
name = "tiny"
[task]
name = "mri-recon"
[task.dataset]
name = "phantom"
size = [24, 32]
[task.mask]
name = "variable-density"
acceleration = 4
[teacher]
model = "dc-cnn"
cascades = 2
depth = 4
[student]
model = "dc-cnn"
cascades = 2
depth = 3
[[arms]]
name = "student"
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(EXPERIMENT, encoding="utf-8")
    return file


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def parameters(cascades: int, depth: int) -> int:
    """Return the parameters of 3x3 convolutions with bias: 1 -> 32, (depth - 2) times 32 -> 32, 32 -> 1."""
    return cascades * ((9 * 32 + 32) + (depth - 2) * (9 * 32 * 32 + 32) + (9 * 32 + 1))


def test_costs_of_teacher_and_student_are_reported_with_their_ratio(experiment: Path) -> None:
    found: dict[str, Any] = json.loads(run(experiment, "--repeats", 3, "--json"))
    teacher, student = found["networks"]
    assert (teacher["network"], student["network"]) == ("teacher", "student")
    assert teacher["parameters"] == parameters(2, 4) and student["parameters"] == parameters(2, 3)
    assert 0 < student["fourier_macs"] < student["macs"] < teacher["macs"]
    assert found["teacher_over_student"]["parameters"] == pytest.approx(parameters(2, 4) / parameters(2, 3))
    assert found["teacher_over_student"]["latency_ms"] == pytest.approx(teacher["latency_ms"] / student["latency_ms"])
    assert teacher["threads"] == torch.get_num_threads() and teacher["device"].startswith("cpu")


def test_overrides_change_the_network_and_the_table_contains_units(experiment: Path) -> None:
    text = run(experiment, "--repeats", 1, "-o", "student.depth=5")
    assert f"{parameters(2, 5):,}" in text and "teacher / student" in text
    assert "peak memory (MiB)" in text and "latency, median (ms)" in text and "1 interleaved rounds" in text


def test_a_run_is_profiled_on_the_task_of_its_experiment(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = RunFolder(out / "store" / "abc")
    options = {"cascades": 3, "depth": 3}
    network = build_network(default_registry(), "dc-cnn", options, 0, "student")
    specification = RunSpecification(side="student", seed=0, task={}, model="dc-cnn", options=options, stages=[])
    folder.path.mkdir(parents=True)
    save_weights(specification, folder, network)
    (out / "experiment.json").write_text(
        json.dumps(read_experiment(experiment).model_dump(mode="json", exclude_unset=True)), encoding="utf-8"
    )
    (out / "students").mkdir()
    (out / "students" / "seed0").symlink_to(folder.path, target_is_directory=True)
    found = json.loads(run(out / "students" / "seed0", "--repeats", 1, "--json"))
    assert found["networks"][0]["parameters"] == parameters(3, 3)
    assert found["teacher_over_student"] is None


def test_a_folder_without_a_run_is_refused(experiment: Path, tmp_path: Path) -> None:
    def invoke(folder: Path) -> None:
        CliRunner().invoke(command, [str(folder)], catch_exceptions=False)

    stray = tmp_path / "stray"
    stray.mkdir()
    with pytest.raises(UserError, match="is not inside a comparison's folder"):
        invoke(stray)
    (tmp_path / "experiment.json").write_text(
        json.dumps(read_experiment(experiment).model_dump(mode="json", exclude_unset=True)), encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"is no finished run: it has no weights\.pt"):
        invoke(stray)
