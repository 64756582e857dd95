"""The example scripts run unchanged within seconds and lower the loss."""

from __future__ import annotations

import ast
import json
import runpy
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def hooks(network: Any) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_a_custom_training_loop(capsys: pytest.CaptureFixture[str]) -> None:
    path = EXAMPLES / "own_training_loop.py"
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("import", "from", '"""'))]
    assert len(lines) <= 30
    variables = runpy.run_path(str(path))
    assert capsys.readouterr().out.startswith("loss ")
    assert sum(variables["losses"][-4:]) < 0.9 * sum(variables["losses"][:4])
    assert all(parameter.grad is not None for parameter in variables["distiller"].parameters())
    assert all(parameter.grad is None for parameter in variables["teacher"].parameters())
    assert hooks(variables["teacher"]) == hooks(variables["student"]) == 0


def test_two_networks_are_distilled(capsys: pytest.CaptureFixture[str]) -> None:
    variables = runpy.run_path(str(EXAMPLES / "distil_two_networks.py"))
    out = capsys.readouterr().out
    assert out.count(" dB\n") == 3 and "target" in out and "imitation" in out
    stages = list(dict.fromkeys(row["stage"] for row in variables["result"].history))
    assert len(stages) == 2 and len(variables["plain"].history) == len(variables["result"].history)
    assert variables["result"].student is variables["student"] and not variables["student"].training
    assert variables["psnr"]["teacher"] > 14, "noise of 0.2 is 14 dB where the peak is 1"
    assert hooks(variables["teacher"]) == hooks(variables["student"]) == 0


def test_every_cell_of_the_script_has_a_cell_marker() -> None:
    text = (EXAMPLES / "distil_two_networks.py").read_text()
    assert "\n\n# %% [markdown]\n# # " in text and text.count("# %% [markdown]") >= text.count("\n# %%\n")
    assert ast.parse(text)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive:UserWarning")
def test_the_cells_of_the_notebook_run(capsys: pytest.CaptureFixture[str]) -> None:
    book = json.loads((EXAMPLES / "first_distillation.ipynb").read_text("utf-8"))
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    variables: dict[str, Any] = {"__name__": "notebook"}
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        for cell in code:
            source = "".join(cell["source"]).replace("EPOCHS = 32, 48, 12", "EPOCHS = 32, 48, 2")
            exec(compile(source, cell["id"], "exec", dont_inherit=True), variables)
        assert len(plt.get_fignums()) == 2
    finally:
        plt.close("all")
        matplotlib.use(backend)
    assert "teacher 4," in capsys.readouterr().out
    assert variables["parameters"](variables["teacher"]) > 6 * variables["parameters"](variables["student"])
    assert variables["result"].student is variables["student"]
