"""A signal ends the program with one line and exit code 130, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from i2ikd.cli.ending import ended_by_signals
from i2ikd.cli.main import main

PROGRAM = """
import os, signal, sys
number, module, nohup = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1)
if nohup == "ignored":
    signal.signal(number, signal.SIG_IGN)
sent = []
def send(event, arguments):
    if event == "import" and arguments[0] == module and not sent:
        sent.append(number)
        os.kill(os.getpid(), number)
sys.addaudithook(send)
from i2ikd.__main__ import main
main()
"""


def ended(number: int, module: str, *arguments: object, nohup: str = "heeded") -> subprocess.CompletedProcess[str]:
    """Run a command that gets a signal when it imports a module."""
    command = [sys.executable, "-c", PROGRAM, str(int(number)), module, nohup, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_while_the_program_is_imported(number: int) -> None:
    done = ended(number, "click", "list", "models")
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "i2ikd: stopped"


@pytest.mark.parametrize(
    ("number", "function"),
    [(signal.SIGTERM, "i2ikd.experiment.checks.check"), (signal.SIGHUP, "i2ikd.report.write.write_report")],
)
def test_before_the_first_step_and_during_the_report(
    number: int,
    function: str,
    tiny_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(function, lambda *_, **__: signal.raise_signal(number))
    options = ("--out", str(tmp_path / "out"), "--arms", "student", "-o", "training.epochs=1")
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(tiny_file), *options])
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip() == "i2ikd: stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_during_a_measured_step_of_check(
    number: int, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    sent = []

    def send(clock: object) -> None:
        sent.append(number)
        signal.raise_signal(number)

    monkeypatch.setattr("i2ikd.experiment.estimate._Clock.on_step_end", send)
    with pytest.raises(SystemExit) as caught:
        main(["check", str(tiny_file), "--arms", "student"])
    assert caught.value.code == 130 and sent == [number]
    assert capsys.readouterr().err.strip() == "i2ikd: stopped"
    assert not list(scratch.glob("i2ikd-*"))


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    done = ended(signal.SIGHUP, "click", "list", "models", nohup="ignored")
    assert done.returncode == 0, done.stderr


def test_handlers_are_put_back_unless_the_process_ends() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as caught, ended_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("command", [["list", "distillers"], ["plugins"]], ids=["click", "rich"])
def test_a_closed_pipe_ends_without_a_message(command: list[str]) -> None:
    program = f"from i2ikd.cli.main import main\nmain({command})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=200), message) == (1, "")
