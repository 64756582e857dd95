"""``i2ikd check`` and ``compare --dry-run``: problems as errors, else runs, time, memory and disk space."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def test_check_and_dry_run_print_runs_time_memory_and_disk(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = i2ikd("check", tiny_file, "--arms", "kd-mri")
    lines = one.out.splitlines()
    assert one.code == 0 and lines[0].startswith("train: 2 subjects")
    assert [line.split()[:4] for line in lines if "steps" in line] == [
        ["train", "teacher/seed0", "4", "steps"],
        ["train", "students/kd-mri/seed0", "8", "steps"],
    ]
    for start in ("runs: 2 to train", "time: about ", "memory: about ", "disk: about "):
        assert any(line.startswith(start) for line in lines), one.out
    dry = i2ikd("compare", tiny_file, "--out", out, "--dry-run", "--arms", "kd-mri", "--json")
    assert [run["steps"] for run in json.loads(dry.out)["runs"]] == [4, 8]
    assert not out.exists()


def test_check_refuses_what_compare_refuses(i2ikd: Any, tiny_file: Path) -> None:
    error = i2ikd("check", tiny_file, "-o", "student.depth=0").error
    assert re.search(r"depth", error)
