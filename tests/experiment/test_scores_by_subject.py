"""Scores by subject in a comparison: records, table, and why stored scores are computed again from the weights."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from i2ikd.evaluation.records import pivot, read_records
from i2ikd.evaluation.statistics import gap_closed, interval, paired
from i2ikd.experiment.compare import compare
from i2ikd.experiment.evaluate_run import evaluate_run

SESSIONS = {"train": ["dora_1"], "val": ["emil_1"], "test": ["anna_1", "anna_2", "ben_1", "ben_2", "cleo_1"]}
TEST_SUBJECTS = ["anna", "anna", "ben", "ben", "cleo"]
NAME_BEFORE_SESSION = "[a-z]+"


class Sessions:
    """The tiny experiment on a folder with several sessions of a subject."""

    def __init__(self, laboratory: Any, root: Path) -> None:
        self._laboratory = laboratory
        self._root = root

    def dataset(self, subject: str | None) -> str:
        expression = f", subject = {json.dumps(subject)}" if subject else ""
        return f'task.dataset={{ name = "folder", root = {json.dumps(str(self._root))}{expression} }}'

    def compare(self, subject: str | None) -> tuple[Any, list[str]]:
        graph = self._laboratory.graph(self.dataset(subject))
        lines: list[str] = []
        comparison = compare(graph, graph.context.experiment.arms, [0], log=lines.append)
        return comparison, [line for line in lines if "scored again" in line]

    @property
    def out(self) -> Path:
        out: Path = self._laboratory.folder / "out"
        return out


@pytest.fixture
def sessions(laboratory: Any) -> Sessions:
    root = laboratory.folder / "data"
    random = np.random.default_rng(2)
    for split, names in SESSIONS.items():
        (root / split).mkdir(parents=True)
        for name in names:
            with h5py.File(root / split / f"{name}.h5", "w") as file:
                file["volfs"] = random.uniform(0.1, 1, (24, 16, 2)).astype(np.float32)
    return Sessions(laboratory, root)


def test_records_and_table_are_by_subject(sessions: Sessions) -> None:
    comparison, _ = sessions.compare(NAME_BEFORE_SESSION)
    with (sessions.out / "records.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    found = {(line["subject"], line["volume"]) for line in lines}
    assert found == set(zip(TEST_SUBJECTS, SESSIONS["test"], strict=True))
    (arms, subjects), metric = pivot(comparison.records, "psnr-volume-max"), "psnr"
    assert subjects == TEST_SUBJECTS
    for row in comparison.rows:
        assert row.metrics[metric] == interval(arms[row.arm], subjects)
        assert row.metrics[metric] != interval(arms[row.arm])
        assert row.metrics[metric].n == 3
    row = comparison.row("kd-mri")
    assert row.differences["student"] == paired(arms["kd-mri"], arms["student"], subjects)
    assert repr(row.gap_closed) == repr(gap_closed(arms["kd-mri"], arms["student"], arms["teacher"], subjects))
    results = json.loads((sessions.out / "results.json").read_text())
    assert {row["psnr"]["n"] for row in results["rows"]} == {3}


def test_evaluate_resamples_subjects(sessions: Sessions, tiny_file: Path) -> None:
    sessions.compare(NAME_BEFORE_SESSION)
    run = sessions.out / "students" / "kd-mri" / "seed0"
    scores, records = evaluate_run(run, tiny_file, [sessions.dataset(NAME_BEFORE_SESSION)], "test")
    tables = pivot(records, "psnr-volume-max")
    assert scores["network"]["psnr"] == interval(tables.arms["network"], TEST_SUBJECTS)
    assert scores["network"]["psnr"].n == 3


def test_other_subjects_are_scored_again_and_nothing_is_trained(sessions: Sessions, optimiser_steps: Any) -> None:
    before, first = sessions.compare(None)
    assert first == []
    optimiser_steps.count = 0
    after, lines = sessions.compare(NAME_BEFORE_SESSION)
    assert optimiser_steps.count == 0
    assert len(lines) == 4 and all("scored again from its weights (changed: keys: " in line for line in lines)
    for old, new in zip(before.rows, after.rows, strict=True):
        assert (old.metrics["psnr"].n, new.metrics["psnr"].n) == (5, 3)
        assert new.metrics["psnr"].mean == pytest.approx(old.metrics["psnr"].mean, rel=1e-12)
    assert sessions.compare(NAME_BEFORE_SESSION)[1] == [], "stored from then on"


def test_scores_of_the_former_format_are_computed_again(sessions: Sessions, optimiser_steps: Any) -> None:
    """Former: no subject in the records, and another description of what they depend on."""
    before, _ = sessions.compare(NAME_BEFORE_SESSION)
    run = sessions.out / "students" / "kd-mri" / "seed0"
    records = (run / "records.csv").read_text().splitlines()
    former = [",".join(cell for place, cell in enumerate(line.split(",")) if place != 2) for line in records]
    (run / "records.csv").write_text("\n".join(former) + "\n")
    (run / "evaluation.json").write_text(json.dumps({"key": "0" * 64, "split": "test", "metrics": []}))
    optimiser_steps.count = 0
    after, lines = sessions.compare(NAME_BEFORE_SESSION)
    assert lines == [
        "students/kd-mri/seed0: scored again from its weights (an older version stored them, without the networks "
        "that they are of)"
    ]
    assert optimiser_steps.count == 0
    assert after.records == before.records == read_records(sessions.out / "records.csv")
