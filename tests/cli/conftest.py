"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from i2ikd.cli.main import run


@dataclass(frozen=True)
class Answer:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr of a user's error."""
        assert self.code == 2, (self.code, self.out, self.err)
        assert self.err.startswith("i2ikd: error: ") and self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("i2ikd: error: ").rstrip()


@pytest.fixture
def i2ikd(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """``i2ikd("list", "models")``."""

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparisons draw no report: that takes longer than all the rest."""
    monkeypatch.setattr("i2ikd.report.write.write_report", lambda comparison, out: [])


@pytest.fixture
def refused(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> Callable[..., str]:
    """Compare with overrides that are wrong; return the line. The output folder must not have come to be."""

    def call(*overrides: str, options: tuple[str, ...] = (), out: Path | None = None) -> str:
        folder = out or tmp_path / "out"
        changes = [part for override in overrides for part in ("-o", override)]
        error: str = i2ikd("compare", tiny_file, "--out", folder, *options, *changes).error
        assert out is not None or not folder.exists(), "nothing is written for an experiment that cannot be"
        return error

    return call
