"""An experiment for a folder and some hours: a task reads the data, the estimate fits, reasons are comments."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from i2ikd_mri_recon.task import MriRecon
from i2ikd_pairs.task import Pairs
from PIL import Image

from i2ikd import UserError
from i2ikd.cli.main import run
from i2ikd.experiment import proposal
from i2ikd.experiment.estimate import Estimate, RunEstimate
from i2ikd.experiment.proposal import propose
from i2ikd.experiment.template_text import with_value
from i2ikd.registry import default_registry

TEMPLATE = resources.files("i2ikd_pairs").joinpath("template.toml").read_text("utf-8")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten colour images of 16 x 12 with noisy inputs."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for side in ("input", "target"):
        (folder / side).mkdir()
    for index in range(10):
        target = random.integers(20, 230, (16, 12, 3), dtype=np.uint8)
        noise = random.integers(0, 20, target.shape, dtype=np.uint8)
        Image.fromarray(target).save(folder / "target" / f"image{index}.png")
        Image.fromarray(target + noise).save(folder / "input" / f"image{index}.png")
    return folder


def test_the_written_experiment_passes_check_within_its_hours(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.toml"
    assert run(["init", str(file), "--data", str(photographs), "--hours", "0.2"]) == 0
    document = tomllib.loads(file.read_text("utf-8"))
    assert document["task"]["channels"] == 3 and document["name"] == photographs.name
    assert document["task"]["patch"] == [12, 12], "squares, which can be rotated"
    text = file.read_text("utf-8")
    assert "inputs are RGB" in text and "s a step" in text and "# train: 8 subjects" in text
    capsys.readouterr()
    assert run(["check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] <= 0.2 * 3600


def fitted(folder: Path, hours: float, monkeypatch: pytest.MonkeyPatch, step: float) -> dict[str, Any]:
    """Propose on a machine on which a step takes some seconds per channel of the student; 10 steps are an epoch."""

    def measured(text: str, registry: Any) -> tuple[Estimate, int, int]:
        document = tomllib.loads(text)
        epochs, seconds = document["training"]["epochs"], step * document["student"]["channels"]
        stages = {"teacher": 1, "students/student": 1, "students/control": 2, "students/kd-mri": 2}
        runs = [
            RunEstimate(f"{name}/seed0", "train", 10 * n * epochs, 5 + 10 * n * epochs * seconds, 5)
            for name, n in stages.items()
        ]
        return Estimate(tuple(runs), 20, 0, 0, 0, "cpu"), 10, 8

    monkeypatch.setattr(proposal, "_measured", measured)
    found = propose(folder, hours, {"pairs": TEMPLATE}, default_registry())
    document = tomllib.loads(found.text)
    seeds, epochs = len(document["seeds"]), document["training"]["epochs"]
    cost = seeds * (4 * 5 + 20 + 60 * epochs * step * document["student"]["channels"])
    assert found.seconds == pytest.approx(cost) and found.seconds <= hours * 3600
    return document


@pytest.mark.parametrize(
    ("hours", "step", "seeds", "channels"),
    [(100, 0.001, 3, 16), (0.87, 0.01, 2, 16), (0.24, 0.01, 1, 8), (0.12, 0.01, 1, 4)],
)
def test_seeds_then_widths_are_reduced_until_stages_are_long_enough(
    photographs: Path, monkeypatch: pytest.MonkeyPatch, hours: float, step: float, seeds: int, channels: int
) -> None:
    document = fitted(photographs, hours, monkeypatch, step)
    assert (len(document["seeds"]), document["student"]["channels"]) == (seeds, channels)
    assert document["teacher"]["channels"] == 3 * channels
    assert document["training"]["epochs"] == 300 or hours < 100, "no more than are useful"


def test_too_little_time_is_refused_with_what_is_needed(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--hours 0.001: expected at least \d+ s for one epoch"):
        fitted(photographs, 0.001, monkeypatch, 0.01)


def test_data_that_no_task_reads_is_refused_with_the_reason_of_each(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected data that a task reads") as error:
        propose(tmp_path, 1, {"pairs": TEMPLATE}, default_registry())
    assert error.value.details == ("pairs: it does not read such data",)
    for folder, hours in ((tmp_path / "none", 1.0), (tmp_path, 0.0), (tmp_path, float("nan"))):
        with pytest.raises(UserError, match=r"--data: there is no|--hours: expected a positive number"):
            propose(folder, hours, {"pairs": TEMPLATE}, default_registry())


def test_tasks_propose_settings_for_their_layout_alone(photographs: Path, tmp_path: Path) -> None:
    assert Pairs.propose(tmp_path) is None
    found = Pairs.propose(photographs)
    assert found is not None and {key: value for key, (value, _) in found.items()} == {
        "root": str(photographs), "channels": 3, "patch": [12, 12], "patches": 4
    }  # fmt: skip
    resampled = MriRecon.propose(tmp_path, (64, 48))
    assert resampled is not None and resampled["dataset.size"][0] == [64, 48]


def test_a_template_keeps_its_comments() -> None:
    text = with_value(TEMPLATE, "training.epochs", 7, "why")
    changed = [(a, b) for a, b in zip(TEMPLATE.split("\n"), text.split("\n")) if a != b]
    assert changed == [("epochs = 100                    # of every stage", "epochs = 7                      # why")]
    scaled = with_value(TEMPLATE, "task.scale", 4, "why")
    assert "# scale = 2" not in scaled and tomllib.loads(scaled)["task"]["scale"] == 4
    text = with_value(with_value(TEMPLATE, "task.patch", None), "student.residual", True)
    document = tomllib.loads(text)
    assert "patch" not in document["task"] and document["student"]["residual"] is True
