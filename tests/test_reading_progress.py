"""The first pass over data prints rate and time left; a short one prints nothing."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from i2ikd import reading_progress
from i2ikd.file_facts import FileFacts
from i2ikd.reading_progress import HashProgress, reading


class Clock:
    """Time that tests advance."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(reading_progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_lines_have_amounts_rate_and_time_left_at_least_10_seconds_apart(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = HashProgress(40 * 2**30)
    for _ in range(16):
        clock.now += 1
        progress.add(2**29)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        "i2ikd: digests of the data files, 1.5 of 40.0 GiB, 512 MiB/s, 1:17 left",
        "i2ikd: digests of the data files, 6.5 of 40.0 GiB, 512 MiB/s, 1:07 left",
    ]


def test_a_terminal_has_one_line_that_is_rewritten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    progress = HashProgress(2**30)
    for _ in range(8):
        clock.now += 1
        progress.add(2**27)
    progress.end()
    text = terminal.getvalue()
    assert text.count("\r") == 6 and text.count("\n") == 1 and text.endswith("0:00 left\n")


def test_items_are_counted_with_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for item in reading("abcdefghij", "volume"):
        found.append(item)
        clock.now += 2
    assert "".join(found) == "abcdefghij"
    assert capsys.readouterr().err.splitlines() == [
        "i2ikd: reading volume 3 of 10, 0:16 left",
        "i2ikd: reading volume 8 of 10, 0:06 left",
    ]
    assert list(reading("ab", "volume")) == ["a", "b"] and capsys.readouterr().err == "", "a short wait"


def test_files_that_are_known_do_not_count(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("I2IKD_CACHE_DIR", str(tmp_path / "cache"))
    files = [tmp_path / f"{number}.bin" for number in range(3)]
    for file in files:
        file.write_bytes(bytes(2**20))
    now = reading_progress.time.time
    monkeypatch.setattr("time.time", lambda: now() + 10)
    facts = FileFacts(tmp_path)
    (first,) = facts.digests([files[:1]])
    assert capsys.readouterr().err == ""
    totals: list[int] = []
    monkeypatch.setattr("i2ikd.file_facts.HashProgress", lambda total: totals.append(total) or HashProgress(total))
    assert facts.digests([[file] for file in files])[0] == first
    assert totals == [2 * 2**20]
