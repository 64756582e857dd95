"""Progress over volumes: rate and remaining time count the slices of the present volume."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from i2ikd.cli.volume_progress import VolumeProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that tests set."""
    now = [100.0]
    monkeypatch.setattr("i2ikd.cli.volume_progress.time.monotonic", lambda: now[0])
    return now


def test_the_remaining_time_follows_from_volumes_and_shares_of_volumes(clock: list[float]) -> None:
    progress = VolumeProgress(Console(file=io.StringIO()), 4)
    assert progress.state() == "0/4"
    with progress:
        for _ in progress.slices("a", range(5)):
            clock[0] += 2
        progress.end_volume()
    assert progress.state() == "1/4, 0.5 slices/s, 0:30 left"
    clock[0] += 10
    assert progress.state(1.5) == "1/4, 0.2 slices/s, 0:33 left"
    for _ in range(3):
        progress.end_volume()  # failed ones count as done
    assert progress.state().endswith("0:00 left")


def test_a_terminal_shows_a_bar_within_80_columns(clock: list[float]) -> None:
    output, name = io.StringIO(), "a-very-long-name-of-a-volume-of-a-study.nii.gz"
    with VolumeProgress(Console(file=output, force_terminal=True, width=80, color_system=None), 2) as progress:
        for _ in progress.slices(name, range(100)):
            clock[0] += 1
    lines = [line for line in output.getvalue().replace("\r", "\n").split("\n") if "slices/s" in line]
    assert lines and all(f"...{name[-27:]} " in line for line in lines)
    assert "1.0 slices/s, 1:40 left" in lines[-1]


def test_other_outputs_have_no_bar() -> None:
    output = io.StringIO()
    with VolumeProgress(Console(file=output), 2) as progress:
        assert list(progress.slices("a", range(3))) == [0, 1, 2]
    assert output.getvalue() == ""
