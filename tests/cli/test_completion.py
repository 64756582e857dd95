"""Shell completion through ``main`` and the lazy command group."""

from __future__ import annotations

import re

import pytest

from i2ikd.cli.main import main
from i2ikd.registry import default_registry

COMMANDS = {component.name for component in default_registry().components("command")}


def completed(words: str, place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the completions for bash; stderr is empty, because the shell displays it."""
    monkeypatch.setenv("_I2IKD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(place))
    with pytest.raises(SystemExit) as ended:
        main([])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return [line.removeprefix("plain,") for line in out.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_completion_script(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_I2IKD_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert f"_I2IKD_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_commands_are_completed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(completed("i2ikd ", 1, monkeypatch, capsys)) == COMMANDS
    assert completed("i2ikd pr", 1, monkeypatch, capsys) == ["profile"]


def test_options_and_choices_of_a_command_are_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"--out", "--arms", "--seeds", "--json"} <= set(completed("i2ikd compare --", 2, monkeypatch, capsys))
    assert completed("i2ikd evaluate --split t", 3, monkeypatch, capsys) == ["train", "test"]


def test_completion_after_an_unknown_command_prints_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    completions = completed("i2ikd nothing --", 2, monkeypatch, capsys)
    assert all(re.fullmatch(r"--(version|help)", option) for option in completions)
