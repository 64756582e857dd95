"""Fixtures that call the command line in the test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from i2ikd.cli.main import run

EXPERIMENT = """
name = "tiny"
seeds = [0]
training = {{ epochs = 1, batch = 2 }}
comparison = {{ latency = false }}
teacher = {{ model = "{model}", depth = 4, channels = 4 }}
student = {{ model = "{model}", depth = 3, channels = 4 }}
arms = [{{ name = "student" }}]
task.name = "{task}"
task.dataset = {{ name = "phantom", train = 1, val = 1, test = 1, slices = 2, size = [32, 24] }}
"""


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the report of comparisons, which dominates their run time."""
    monkeypatch.setattr("i2ikd.report.write.write_report", lambda comparison, out: [])


@pytest.fixture
def refused(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs ``compare`` with invalid overrides and returns the error; nothing is written."""

    def call(*overrides: str, options: tuple[str, ...] = (), out: Path | None = None) -> str:
        folder = out or tmp_path / "out"
        changes = [part for override in overrides for part in ("-o", override)]
        error: str = i2ikd("compare", tiny_file, "--out", folder, *options, *changes).error
        assert out is not None or not folder.exists(), "nothing is written for an invalid experiment"
        return error

    return call


def trained(folder: Path, task: str, model: str) -> Path:
    """Train a student for one epoch; return the run's folder."""
    (folder / "tiny.toml").write_text(EXPERIMENT.format(task=task, model=model), encoding="utf-8")
    assert run(["distill", str(folder / "tiny.toml"), "--arm", "student", "--out", str(folder / "out")]) == 0
    return folder / "out" / "students" / "student" / "seed0"


@pytest.fixture(scope="session")
def reconstruction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("recon"), "mri-recon", "dc-cnn")


@pytest.fixture(scope="session")
def sharpening(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("sr"), "mri-sr", "vdsr")
