"""JSON files of a store that have another shape are refused in one line with their path, or made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

SHAPES = [
    "null",
    "[]",
    "7",
    '"text"',
    "{}",
    '{"name": 3}',
    '{"files": []}',
    "[" * 5000,
    '{"x": ' + "9" * 5000 + "}",
    "\ud800",
]


def write(file: Path, text: str) -> None:
    """Write a file and remove the manifests that would notice it."""
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for manifest in (file.with_name("manifest.json"), file.parents[1] / "manifest.json"):
        if manifest != file:
            manifest.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["results.json", "experiment.json", "manifest.json"])
def test_of_a_comparison_are_refused(name: str, comparison: Any) -> None:
    for text in SHAPES:
        file = comparison.out / name
        write(file, text)
        message = comparison.command("report", comparison.out).refusal
        assert name in message and len(message) <= 300, text[:40]


def test_an_experiment_is_refused_by_every_command_that_uses_it(comparison: Any) -> None:
    run = comparison.out / "teacher/seed0"
    for text in SHAPES:
        write(comparison.out / "experiment.json", text)
        for command in ("evaluate", "profile"):
            message = comparison.command(command, run).refusal
            assert "experiment.json" in message, (command, text[:40])


@pytest.mark.parametrize("place", ["rows.0.psnr", "rows.1.params", "rows.2.differences", "conclusions", "metrics.psnr"])
def test_a_value_of_another_type_is_named_with_its_place(place: str, comparison: Any) -> None:
    file = comparison.out / "results.json"
    document = json.loads(file.read_text())
    *path, last = place.split(".")
    owner: Any = document
    for part in path:
        owner = owner[int(part) if part.isdigit() else part]
    owner[last] = {"x": 1}
    write(file, json.dumps(document))
    message = comparison.command("report", comparison.out).refusal
    assert str(file) in message and last in message


@pytest.mark.parametrize("name", ["run.json", "manifest.json", "evaluation.json", "history.json"])
def test_of_a_run_never_change_a_number(name: str, comparison: Any) -> None:
    before = comparison.numbers
    for text in (SHAPES[0], SHAPES[4], SHAPES[7]):
        write(comparison.run("students/kd-mri/seed0") / name, text)
        result = comparison.again()
        assert result.code == 0, result.err
        assert comparison.numbers == before
