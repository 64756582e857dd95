"""Data of a user: what is printed before training, and what a change of files makes the next command do."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ARMS = ("--arms", "student")


def save(path: Path, seed: int, shape: tuple[int, ...] = (3, 16, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).random(shape, np.float32) + 0.1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, split in enumerate(("TRAIN", "VAL", "TEST")):
        save(tmp_path / "data" / split / f"s{number}.npy", number)
    save(tmp_path / "data" / "TRAIN" / "s7.npy", 7)
    return tmp_path / "data"


@pytest.fixture
def call(i2ikd: Any, tiny_file: Path, data: Path, tmp_path: Path) -> Any:
    """Return a function that runs ``compare`` on the data."""

    def run(*options: object) -> Any:
        dataset = f"task.dataset={{name='folder', root='{data}'}}"
        return i2ikd("compare", tiny_file, "--out", tmp_path / "out", *ARMS, "-o", dataset, *options)

    return run


def records(out: Path) -> list[dict[str, str]]:
    with (out / "records.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class TestChangedFiles:
    def test_a_changed_test_file_is_scored_again_without_training_again(
        self, call: Any, data: Path, tmp_path: Path, optimiser_steps: Any
    ) -> None:
        first = call("--json")
        assert first.code == 0, first.err
        trained, before = optimiser_steps.count, (data / "TEST" / "s2.npy").stat().st_size
        save(data / "TEST" / "s2.npy", 99)
        assert (data / "TEST" / "s2.npy").stat().st_size == before
        second = call("--json")
        assert optimiser_steps.count == trained
        assert "scored again from its weights (changed: test data" in second.err
        assert first.out != second.out
        assert call("--json").out == second.out

    @pytest.mark.parametrize("name", ["TRAIN/s7.npy", "VAL/s1.npy"])
    def test_a_changed_training_or_validation_file_is_trained_again(
        self, call: Any, data: Path, optimiser_steps: Any, name: str
    ) -> None:
        assert call().code == 0
        trained = optimiser_steps.count
        save(data / name, 99)
        assert call().code == 0
        assert optimiser_steps.count == 2 * trained

    def test_records_have_the_slice_numbers_of_the_files(self, call: Any, data: Path, tmp_path: Path) -> None:
        stack = np.load(data / "TEST" / "s2.npy")
        stack[1] = 0
        np.save(data / "TEST" / "s2.npy", stack)
        assert call().code == 0
        assert {row["slice"] for row in records(tmp_path / "out")} == {"0", "2"}
