"""Data of a user: what is printed before training, and what a change of files makes the next command do."""

from __future__ import annotations

import csv
import json
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


class TestInventory:
    @pytest.fixture
    def lines(self, data: Path) -> list[str]:
        stack = np.load(data / "TRAIN" / "s0.npy") * 50
        stack[0] = 0
        np.save(data / "TRAIN" / "s0.npy", stack)
        for name in ("TRAIN/Thumbs.db", "TRAIN/.hidden", "notes.txt"):
            (data / name).write_text("")
        save(data / "labels" / "s0.npy", 3)
        train, test = (
            np.concatenate([np.load(f) for f in (data / split).glob("*.npy")]) for split in ("TRAIN", "TEST")
        )
        return [
            f"train: 2 subjects, 2 volumes, 5 slices; 16 x 12; real; values 0..{train.max():.4g}; 1 slice left out: "
            "all zero",
            f"test: 1 subject, 1 volume, 3 slices; 16 x 12; real; values {test.min():.4g}..{test.max():.4g}",
            "files: 4 .npy; divided by folder: train is TRAIN/, val is VAL/, test is TEST/",
            "passed over: 1 (beside the folders of the splits), e.g. notes.txt",
            "passed over: 1 (hidden), e.g. TRAIN/.hidden",
            "passed over: 1 (labels or derived data by the folder's name), e.g. labels",
            "passed over: 1 (no suffix of the reader), e.g. TRAIN/Thumbs.db",
        ]

    def test_data_prints_it_alone(
        self, i2ikd: Any, tiny_file: Path, data: Path, tmp_path: Path, lines: list[str]
    ) -> None:
        dataset = f"task.dataset={{name='folder', root='{data}'}}"
        before = sorted(tmp_path.rglob("*"))
        printed = i2ikd("data", tiny_file, "-o", dataset)
        assert printed.code == 0, printed.err
        shown = printed.out.splitlines()
        assert shown[:1] + shown[2:-1] == lines
        statement = "k-space from magnitude images; mask variable-density applied, acceleration 4.00"
        assert shown[-1] == f"simulated: {statement}"
        document = json.loads(i2ikd("data", tiny_file, "-o", dataset, "--json").out)
        assert document["splits"][0]["left_out"] == 1
        assert document["simulated"] == [statement]
        assert document["files"]["passed_over"][1] == {"reason": "hidden", "count": 1, "example": "TRAIN/.hidden"}
        assert sorted(tmp_path.rglob("*")) == before, "nothing is written"

    @pytest.mark.parametrize("command", [("compare", *ARMS), ("train",), ("distill", "--arm", "student")])
    def test_training_commands_print_it_first(
        self, command: tuple[str, ...], i2ikd: Any, tiny_file: Path, data: Path, tmp_path: Path, lines: list[str]
    ) -> None:
        dataset = f"task.dataset={{name='folder', root='{data}'}}"
        name, *options = command
        done = i2ikd(name, tiny_file, "--out", tmp_path / "out", *options, "-o", dataset)
        assert done.code == 0, done.err
        shown = done.out.splitlines()
        assert shown[:1] + shown[2 : len(lines) + 1] == lines
        assert shown[len(lines) + 1].startswith("simulated: k-space from magnitude images; mask variable-density")

    def test_simulated_data_has_no_files(self, i2ikd: Any, tiny_file: Path) -> None:
        *lines, simulated = i2ikd("data", tiny_file).out.splitlines()
        assert simulated.startswith("simulated: k-space from magnitude images")
        assert [line.split(";")[:2] for line in lines] == [
            ["train: 2 subjects, 2 volumes, 4 slices", " 32 x 32"],
            ["val: 1 subject, 1 volume, 2 slices", " 32 x 32"],
            ["test: 2 subjects, 2 volumes, 4 slices", " 32 x 32"],
        ]

    def test_an_ambiguous_folder_is_refused(self, i2ikd: Any, tiny_file: Path, data: Path) -> None:
        save(data / "TRAIN2" / "x.npy", 5)
        error = i2ikd("data", tiny_file, "-o", f"task.dataset={{name='folder', root='{data}'}}").error
        assert 'set splits = { train = ["TRAIN"]' in error
