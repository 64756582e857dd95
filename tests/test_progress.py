"""Progress of a command: one bar over all runs that fits into 80 columns, plain lines with times in other outputs."""

from __future__ import annotations

import io
import re
from typing import Any, cast

import pytest
from rich.console import Console

from i2ikd.callback import EpochContext, RunContext, StageContext
from i2ikd.progress import Display, Schedule, library_display
from i2ikd.recipe import Stage, Term

JOBS = [("teacher/seed0", 10), ("students/student/seed0", 4), ("students/kd-mri/seed0", 4), ("teacher/seed1", 10)]


def epoch(run: str, stage: str = "reconstruction-of-features") -> EpochContext:
    context = RunContext(run, 0, None, {}, cast("Any", None))
    made = Stage(name=stage, terms=[Term(distiller="target")])
    return EpochContext(StageContext(context, made, 0), 6, {"target": 0.25, "total": 0.25})


def displayed(terminal: bool, monkeypatch: pytest.MonkeyPatch, seconds: float = 30.0) -> str:
    """Show the first steps of the third of four runs, each step ``seconds`` long; return all that was written."""
    now = [0.0]
    monkeypatch.setattr("i2ikd.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    display = Display(Console(file=stream, force_terminal=terminal, width=80, color_system=None))
    display.on_schedule(JOBS)
    for name, steps in JOBS[:3]:
        display.on_train_start(name, steps, 0)
        for _ in range(steps if name != JOBS[2][0] else 2):
            now[0] += 4 * seconds if name.startswith("teacher") else seconds
            display.on_step_end()
        display.on_epoch_end(epoch(name))
        if name != JOBS[2][0]:
            display.on_train_end()
    if display._bar is not None:
        display._bar.refresh()
    display.on_train_end()
    return stream.getvalue()


def test_the_time_left_counts_every_run_at_the_speed_of_its_kind() -> None:
    schedule = Schedule(list(JOBS))
    assert schedule.seconds_left({"teacher/seed0": 10}) is None, "nothing is measured yet"
    schedule.measure("teacher/seed0", 20.0, 5)
    assert schedule.seconds_left({"teacher/seed0": 5}) == 4.0 * (5 + 4 + 4 + 10), "until a student is measured"
    schedule.finish("teacher/seed0")
    schedule.measure("students/student/seed0", 1.0, 1)
    assert schedule.seconds_left({"students/student/seed0": 3}) == 1.0 * (3 + 4) + 4.0 * 10


def test_runs_that_are_trained_together_count_each() -> None:
    schedule = Schedule([("students/a/seed0, students/b/seed0", 5), ("students/a/seed1, students/b/seed1", 5)])
    schedule.finish("students/a/seed0, students/b/seed0")
    assert (schedule.runs, schedule.position("students/a/seed1, students/b/seed1"), schedule.done({})) == (4, 3, 5)


def test_a_terminal_shows_one_bar_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", displayed(True, monkeypatch))
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert max(len(line) for line in lines) <= 80
    last = next(line for line in reversed(lines) if "run 3 of 4" in line)
    assert "kd-mri" in last and "57%" in last and last.rstrip().endswith("21 min left"), last


def test_other_outputs_have_plain_lines_with_times(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = displayed(False, monkeypatch).splitlines()
    assert len(lines) == 3 and all(re.match(r"\d\d:\d\d:\d\d  run \d of 4  ", line) for line in lines)
    assert lines[2].endswith("[0.03 steps/s, 21 min left]") and "epoch 7  target 0.25" in lines[2]
    assert "\x1b" not in "".join(lines)


def test_other_processes_are_summed_up_at_most_every_20_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("i2ikd.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    display = Display(Console(file=stream, width=80))
    display.on_schedule(JOBS)
    for seconds, name, done in (
        (100, "teacher/seed0", 0),  # nothing is measured yet
        (105, "teacher/seed1", 0),
        (110, "teacher/seed0", 2),
        (125, "teacher/seed1", 4),
    ):
        now[0] = seconds
        display.on_remote_progress(name, done, 10)
    display.on_run_trained("teacher/seed0", [])
    now[0] = 165
    display.on_remote_progress("students/student/seed0", 1, 4)
    lines = [line.partition("  ")[2] for line in stream.getvalue().splitlines()]
    # by two at a time, and 5 s a step for all: 8 + 6 + 4 + 4 steps are left, later 6 + 3 + 4
    assert lines == [
        "0 of 4 runs finished, 1 in training, 0%",
        "0 of 4 runs finished, 2 in training, 21%, about 55 s left",
        "teacher/seed0: 1 of 4 runs finished",
        "1 of 4 runs finished, 2 in training, 54%, about 32 s left",
    ]


def test_the_library_shows_progress_in_a_terminal_or_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert [isinstance(library_display(wanted), Display) for wanted in (None, False, True)] == [False, False, True]
