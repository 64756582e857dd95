"""The example scripts run as they are, in seconds, and do what they say."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def hooks(network: Any) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_an_own_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / "own_training_loop.py"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("import", "from", '"""'))]
    assert len(lines) <= 30
    left = runpy.run_path(str(path))
    assert capsys.readouterr().out.startswith("loss ")
    assert sum(left["losses"][-4:]) < 0.9 * sum(left["losses"][:4])
    assert all(parameter.grad is not None for parameter in left["distiller"].parameters())
    assert all(parameter.grad is None for parameter in left["teacher"].parameters())
    assert hooks(left["teacher"]) == hooks(left["student"]) == 0


def test_two_networks_are_distilled(capsys: pytest.CaptureFixture[str]) -> None:
    left = runpy.run_path(str(EXAMPLES / "distil_two_networks.py"))
    out = capsys.readouterr().out
    assert out.count(" dB\n") == 3 and "target" in out and "imitation" in out
    stages = list(dict.fromkeys(row["stage"] for row in left["result"].history))
    assert len(stages) == 2 and len(left["plain"].history) == len(left["result"].history)
    assert left["result"].student is left["student"] and not left["student"].training
    assert left["psnr"]["teacher"] > 14, "noise of 0.2 is 14 dB where the peak is 1"
    assert hooks(left["teacher"]) == hooks(left["student"]) == 0


def test_every_cell_of_the_notebook_like_script_is_told_as_one() -> None:
    text = (EXAMPLES / "distil_two_networks.py").read_text()
    assert "\n\n# %% [markdown]\n# # " in text and text.count("# %% [markdown]") >= text.count("\n# %%\n")
    assert ast.parse(text)
