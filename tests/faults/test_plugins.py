"""Plugins that misbehave: one line with the plugin's name, settings put back, stdout left to the result."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import i2ikd as package
from i2ikd.cli.main import run
from i2ikd.component import Plugin
from i2ikd.errors import UserError
from i2ikd.registry import Registry, default_registry

NAME = "rude_plugin_of_a_fault_test"
SOURCE = """
import os, subprocess, sys
import numpy, torch
import i2ikd
from i2ikd.builtin.models.plain import PlainCNN


class Rude(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")


ERRORS = {
    "base": Rude("away"), "exit": SystemExit(0), "assertion": AssertionError(), "unprintable": Unprintable(),
    "recursion": RecursionError("deep"), "memory": MemoryError(), "stop": StopIteration(), "closed": GeneratorExit(),
}


class Loud(i2ikd.Metric):
    def __init__(self, error: str = "", when: str = "call") -> None:
        print("a plugin prints")
        os.write(1, b"a library prints")
        subprocess.run([sys.executable, "-c", "print('a subprocess prints')"], check=True)
        self.refusal, self.when = error, when
        if error and when == "create":
            raise ERRORS[error]

    def __call__(self, prediction, target):
        if self.refusal:
            raise ERRORS[self.refusal]
        return 1.0


def careless() -> Loud:
    numpy.seterr(all="raise")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_default_dtype(torch.float64)
    return Loud()


@i2ikd.hookimpl
def register_metrics(register):
    register("loud", Loud)
    register("careless", careless)
"""


@pytest.fixture
def rude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The plugin, in the registry of the command line."""
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__(NAME)
    registry = default_registry()
    plugin = Plugin("rude", "rude-package", "1.0", module)
    registry.add(plugin)
    yield registry
    registry.plugins.remove(plugin)
    registry._manager.unregister(module)
    sys.modules.pop(NAME, None)


@pytest.mark.parametrize("when", ["create", "call"])
@pytest.mark.parametrize("error", ["base", "exit", "assertion", "unprintable", "recursion", "memory", "stop", "closed"])
def test_any_exception_is_one_line_with_the_plugin(error: str, when: str, rude: Registry, comparison: Any) -> None:
    metric = f"comparison.metrics.loud={{name='loud', error='{error}', when='{when}'}}"
    message = comparison.command("evaluate", comparison.out / "teacher/seed0", "-o", metric).refusal
    assert "rude (rude-package 1.0)" in message, message


def test_stdout_has_the_result_alone(
    rude: Registry, finished_once: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    metric = "comparison.metrics.loud=loud"
    assert run(["evaluate", str(finished_once[1] / "teacher/seed0"), "--json", "-o", metric]) == 0
    captured = capfd.readouterr()
    rows = json.loads(captured.out)
    assert {row["arm"] for row in rows} == {"network", "zero-filled"} and rows[0]["loud"]["mean"] == 1
    for text in ("a plugin prints", "a library prints", "a subprocess prints"):
        assert text in captured.err


def test_every_command_prints_its_result_by_the_function_that_has_stdout() -> None:
    commands = Path(package.__file__).parent / "cli"
    writers = [file.name for file in commands.glob("*.py") if "json.dumps" in file.read_text(encoding="utf-8")]
    assert writers == ["result.py"], "use i2ikd.cli.result.print_json: stdout is redirected while --json is set"


def test_settings_of_the_process_are_put_back(rude: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    before = np.geterr()
    rude.create("metric", "careless")
    assert np.geterr() == before and torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "put back" in line]
    for name in ("NumPy's handling of errors", "gradients", "torch's default type", "deterministic algorithms"):
        assert name in line
    assert "rude (rude-package 1.0)" in line


def plugin(register_models: Callable[[Any], None]) -> Plugin:
    module = ModuleType("a_plugin")
    module.register_models = package.hookimpl(register_models)  # type: ignore[attr-defined]
    return Plugin("many", "many-models", "1.0", module)


def test_a_hundred_thousand_registrations_take_seconds() -> None:
    def register_models(register: Any) -> None:
        for number in range(100_000):
            register(f"net{number}", dict)

    start = time.monotonic()
    assert Registry([plugin(register_models)]).get("model", "net99999").name == "net99999"
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "a\x1b[2J", "x" * 300, 7, None])
def test_names_are_printable_texts(name: Any, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry([plugin(lambda register: register(name, dict))])
    assert registry.plugins[0].problem and "many (many-models 1.0) is broken" in capsys.readouterr().err
    with pytest.raises(UserError, match="unknown model"):
        registry.get("model", "net")
