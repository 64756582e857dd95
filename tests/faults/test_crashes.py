"""A comparison that is killed before any operation on a file goes on with the same numbers, and leaves no files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.damage import CRASHES, TRIED

EXPERIMENT = """
name = "small"
seeds = [0]
teacher = { model = "dc-cnn", cascades = 1, depth = 3, channels = 2 }
student = { model = "dc-cnn", cascades = 1, depth = 2, channels = 2 }
training = { epochs = 1, batch = 2, device = "cpu" }
comparison = { latency = false }
task.name = "mri-recon"
task.dataset = { name = "phantom", train = 1, val = 1, test = 1, slices = 2, size = [32, 32] }
[[arms]]
name = "kd-mri"
recipe = "kd-mri"
"""
LARGER = """
[[arms]]
name = "control"
stages = 2
"""
"""Further arm of the long profile."""


@pytest.mark.timeout(6000)
def test_a_killed_comparison_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(EXPERIMENT + (LARGER if CRASHES else ""))
    command = [sys.executable, "-m", "tests.faults.crashes", str(tmp_path), str(file), str(CRASHES)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    TRIED["crash points"] += found["points"]
    assert found["points"] == min(CRASHES, found["operations"])
    assert found["problems"] == {}
