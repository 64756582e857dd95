"""A finished comparison that each test may damage, and the numbers that it must still have afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from i2ikd.cli.main import run as run_command
from tests.commands import CommandResult
from tests.conftest import TINY, draw_once
from tests.faults.damage import CRASHES, INPUTS, TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the long profile tried; every fault is a failed test."""
    if INPUTS or CRASHES:
        tried = ", ".join(f"{count:,} {kind}" for kind, count in TRIED.items())
        failed = len(terminalreporter.stats.get("failed", []))
        terminalreporter.write_line(f"tried: {tried}; failed tests: {failed}")


@dataclass(frozen=True)
class Comparison:
    """A finished comparison of the tiny experiment in a folder of its own."""

    file: Path
    out: Path
    command: Callable[..., CommandResult]

    def again(self, *options: object) -> CommandResult:
        """Start the same command again."""
        return self.command("compare", self.file, "--out", self.out, *options)

    def run(self, name: str) -> Path:
        """Folder of a run in the store."""
        return (self.out / name).resolve()

    @property
    def numbers(self) -> tuple[Any, str]:
        """Results without measured times, and all records."""
        return json.loads((self.out / "results.json").read_text()), (self.out / "records.csv").read_text()


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Draw each phantom once in the process, and no figure."""
    draw_once(patch)
    patch.setattr("i2ikd.report.write.render_figures", lambda comparison, registry: [])


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One comparison for all tests, which copy it."""
    folder = tmp_path_factory.mktemp("finished")
    file, out = folder / "tiny.toml", folder / "out"
    file.write_text(TINY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        prepare(patch)
        assert run_command(["compare", str(file), "--out", str(out)]) == 0
    return file, out


@pytest.fixture
def comparison(
    finished_once: tuple[Path, Path],
    tmp_path: Path,
    i2ikd: Callable[..., CommandResult],
    monkeypatch: pytest.MonkeyPatch,
) -> Comparison:
    """A copy of the finished comparison."""
    prepare(monkeypatch)
    file, out = finished_once
    shutil.copytree(out, tmp_path / "out", symlinks=True)
    return Comparison(file, tmp_path / "out", i2ikd)
