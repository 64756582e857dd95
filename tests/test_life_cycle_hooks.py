"""The examples on the pages of the life-cycle hooks work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from i2ikd import Stage
from i2ikd.builtin.models.plain import PlainCNN
from i2ikd.callback import EpochContext, RunContext, StageContext
from i2ikd.recipe import Term
from i2ikd.registry import Registry

Example = Callable[[str], Registry]


@pytest.fixture
def run(tmp_path: Path) -> RunContext:
    return RunContext("students/kd-mri/seed3", 3, tmp_path, {"model": "plain-cnn"}, PlainCNN(depth=1))


@pytest.fixture
def stage(run: RunContext) -> StageContext:
    terms = [Term(distiller="target"), Term(distiller="imitation", weight=0.5)]
    return StageContext(run, Stage(name="output", terms=terms), index=1)


def without_folder(context: Any) -> Any:
    """The same moment of a run that keeps no files."""
    if isinstance(context, RunContext):
        return RunContext(context.name, context.seed, None, context.settings, context.network)
    if isinstance(context, StageContext):
        return StageContext(without_folder(context.run), context.stage, context.index)
    return EpochContext(without_folder(context.stage), context.epoch)


def written_by(registry: Registry, hook: str, context: Any, folder: Path) -> dict[str, Path]:
    """Notify for a run without and one with a folder; return the files that came to be."""
    before = set(folder.iterdir())
    registry.notify(hook, without_folder(context))
    assert set(folder.iterdir()) == before
    registry.notify(hook, context)
    return {path.name: path for path in set(folder.iterdir()) - before}


def test_run_started(example: Example, run: RunContext, tmp_path: Path) -> None:
    written = written_by(example("run_started"), "run_started", run, tmp_path)
    note = json.loads(written["machine.json"].read_text())
    assert (note["run"], note["seed"]) == ("students/kd-mri/seed3", 3)


def test_run_ended(example: Example, run: RunContext, capsys: pytest.CaptureFixture[str]) -> None:
    registry = example("run_ended")
    registry.notify("run_ended", run)
    run.error = ValueError("no more disk")
    registry.notify("run_ended", run)
    assert capsys.readouterr().err.splitlines() == [
        "students/kd-mri/seed3 finished",
        "students/kd-mri/seed3 stopped: ValueError",
    ]


def test_stage_started(example: Example, stage: StageContext, tmp_path: Path) -> None:
    written = written_by(example("stage_started"), "stage_started", stage, tmp_path)
    assert written["stages.txt"].read_text() == "1: output minimises target, imitation\n"


def test_stage_ended(example: Example, stage: StageContext, tmp_path: Path) -> None:
    written = written_by(example("stage_ended"), "stage_ended", stage, tmp_path)
    state = torch.load(written["after-1-output.pt"], weights_only=True)
    network: nn.Module = stage.run.network
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_epoch_started(example: Example, stage: StageContext, capsys: pytest.CaptureFixture[str]) -> None:
    example("epoch_started").notify("epoch_started", EpochContext(stage, epoch=4))
    assert capsys.readouterr().err == "students/kd-mri/seed3: output, epoch 5\n"


def test_epoch_ended(example: Example, stage: StageContext, tmp_path: Path) -> None:
    context = EpochContext(stage, 2, {"total": 0.75, "target": 0.5}, validation=0.6, learning_rate=1e-3)
    written = written_by(example("epoch_ended"), "epoch_ended", context, tmp_path)
    row = json.loads(written["losses.jsonl"].read_text())
    assert row == {"stage": "output", "epoch": 2, "validation": 0.6, "total": 0.75, "target": 0.5}
