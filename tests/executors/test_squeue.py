"""States of jobs in Slurm's queue, by a ``squeue`` that prints a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.executors.squeue import Queue


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the answer; while there is none, Slurm does not answer. ``calls`` beside it has a byte per call."""
    folder = tmp_path / "commands"
    folder.mkdir()
    script = (
        f'#!/bin/bash\necho >> {tmp_path}/calls\n[ -z "$SQUEUE_PARTITION" ] && cat {tmp_path}/answer 2> /dev/null\n'
    )
    for name, text in (("squeue", script), ("srun", "#!/bin/bash\n"), ("scancel", "#!/bin/bash\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SQUEUE_PARTITION", "a filter that would hide jobs")
    return tmp_path / "answer"


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CONFIGURING", "SUSPENDED", "COMPLETING", "REQUEUE_HOLD"])
def test_what_has_not_ended(answer: Path, state: str) -> None:
    answer.write_text(f"12|COMPLETED|a\n7|{state}|b\n")
    assert (Queue().get_state("7"), Queue().is_done("7")) == (state, False)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL"])
def test_what_has_ended(answer: Path, state: str) -> None:
    answer.write_text(f"12|RUNNING|a\n7|{state}|b\n")
    assert (Queue().get_state("7"), Queue().is_done("7")) == (state, True)


def test_a_job_that_slurm_has_forgotten_has_ended(answer: Path) -> None:
    answer.write_text("")
    assert (Queue().get_state("7"), Queue().is_done("7")) == ("NO LONGER QUEUED", True)


def test_without_an_answer_nothing_has_ended(answer: Path) -> None:
    queue = Queue()
    assert (queue.get_state("7"), queue.is_done("7")) == ("UNKNOWN", False)
    answer.write_text("7|FAILED|b\n")
    assert queue.is_done("7", mode="force")
    answer.unlink()
    assert not queue.is_done("7", mode="force")


def test_squeue_is_called_again_when_its_answer_is_old_or_a_job_was_submitted(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("i2ikd.executors.squeue.time.monotonic", lambda: now)
    answer.write_text("7|RUNNING|b\n")
    queue = Queue()

    def called_at(*times: float) -> list[float]:
        nonlocal now
        found = []
        for now in times:
            before = (tmp_path / "calls").stat().st_size if (tmp_path / "calls").exists() else 0
            queue.get_state("7")
            found += [now] if (tmp_path / "calls").stat().st_size > before else []
        return found

    queue.restart()
    assert called_at(1000, 1001, 1002, 1003, 1004, 1010, 1014) == [1000, 1002, 1004, 1010]
    assert called_at(2000, 2059, 2060, 2061) == [2000, 2060]
    queue.restart()
    assert called_at(2061, 2062, 2063) == [2061, 2063]


def test_jobs_are_found_by_the_ends_of_their_names(answer: Path) -> None:
    answer.write_text("7|FAILED|a|b-12\n8|RUNNING|i2ikd-a-34\n9|PENDING|a|b-12\n")
    queue = Queue()
    assert (queue.find("-12"), queue.find("-34"), queue.find("-56")) == ("9", "8", None)


def test_no_second_job_while_squeue_does_not_report_whether_there_is_a_first(
    answer: Path, laboratory: Any, make: Any, first_job: Any
) -> None:
    graph = laboratory.graph("task.dataset.size=[16, 16]", arms=[{"name": "student"}])
    executor = make(graph, "slurm")
    with pytest.raises(
        UserError, match=r"student/seed0: squeue does not report which jobs of an earlier command still"
    ):
        executor.submit(first_job(graph, teachers=False))
