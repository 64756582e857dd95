"""The bundles of the wheel: sound, small, with licence and origin, and usable as networks and as teachers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import i2ikd
from i2ikd import UserError
from i2ikd.config import read_experiment
from i2ikd.experiment.networks import load_input
from i2ikd.experiment.schedule import train_teacher
from i2ikd.zoo import located

ROOT = Path(__file__).parents[2]
NAMES = ["brain-4x-student", "brain-4x-teacher", "phantom-4x-student", "phantom-4x-teacher"]
FOLDERS = [name for name in NAMES if (ROOT / "plugins/i2ikd_mri_recon/zoo" / name).is_dir()]


def test_all_registered_bundles_are_in_the_package() -> None:
    assert sorted(i2ikd.list_components("bundle")) == NAMES == FOLDERS
    files = [file for name in NAMES for file in located(f"zoo:{name}").rglob("*") if "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files if file.is_file()) < 3_000_000, "beside what pip compiles"


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_is_whole_and_computes_what_it_states(name: str) -> None:
    folder = located(f"zoo:{name}")
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text("utf-8").splitlines())
    assert sorted([*sums, "SHA256SUMS"]) == sorted(file.name for file in folder.iterdir() if file.is_file())
    assert all(hashlib.sha256((folder / file).read_bytes()).hexdigest() == digest for file, digest in sums.items())
    with np.load(folder / "test_vector.npz") as archive:
        vector = dict(archive)
    expected = vector.pop("expected")
    for model, stated in json.loads((folder / "config.json").read_text("utf-8"))["models"].items():
        rms = float(np.sqrt(np.mean((i2ikd.Predictor(f"zoo:{name}", model)(**vector) - expected) ** 2)))
        assert rms <= stated["rms_limit"]


@pytest.mark.parametrize("name", NAMES)
def test_a_card_names_command_data_and_licence(name: str) -> None:
    card = (located(f"zoo:{name}") / "README.md").read_text("utf-8")
    licence = i2ikd.list_components("bundle")[name]["licence"].partition(",")[0]
    assert f"- Licence of the weights: {licence}." in card
    assert f"- Trained by `i2ikd compare examples/experiments/zoo-{name[:-8]}.toml --out OUT" in card
    experiment = read_experiment(ROOT / f"examples/experiments/zoo-{name[:-8]}.toml")
    assert f"epochs {experiment.training.epochs}, batch 4" in card or "-student" in name
    assert experiment.card.data in card and experiment.card.limits in card
    assert "worst subject" in card and "| control |" in card


def test_a_bundle_is_a_teacher_that_is_not_trained(laboratory: Any) -> None:
    options = ["teacher.cascades=5", "teacher.depth=5", "teacher.channels=16", "teacher.residual=true"]
    graph = laboratory.graph('teacher.weights="zoo:phantom-4x-teacher"', *options)
    run = train_teacher(graph, 0, log=lambda _: None)
    network = load_input(graph.context.registry, [run], None)
    batch = graph.context.example()
    with torch.no_grad():
        output = network(batch.input, **batch.conditions)
    bundled = i2ikd.load("zoo:phantom-4x-teacher")(batch.input, **batch.conditions)
    torch.testing.assert_close(bundled, output, rtol=1e-4, atol=1e-5)
    other = laboratory.graph('teacher.weights="zoo:phantom-4x-teacher"', *options[:2], out="other")
    with pytest.raises(UserError, match=r"model.safetensors holds the weights of another network"):
        train_teacher(other, 0, log=lambda _: None)
    with pytest.raises(UserError, match="unknown bundle 'phantom-4x-techer'; did you mean 'phantom-4x-teacher'"):
        laboratory.graph('teacher.weights="zoo:phantom-4x-techer"').teacher_run(0)
