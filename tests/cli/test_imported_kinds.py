"""``import:package.module:Name`` in an experiment, for a component of every kind, without a plugin."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OWN = '''
from pathlib import Path

import numpy as np
import torch

import i2ikd
from i2ikd.builtin.distillers.output import Imitation
from i2ikd.builtin.exporters.safetensors_file import Safetensors
from i2ikd.builtin.objectives.weighted_terms import WeightedTerms


class Squares(i2ikd.SampleDataset):
    def __init__(self, split):
        self._keys = [i2ikd.SampleKey(volume=f"{split}{n}", index=0) for n in range(4)]

    @property
    def keys(self):
        return self._keys

    def sample(self, index, seed):
        target = torch.zeros(1, 12, 12)
        target[:, 2 + index : 8, 3:9] = 1.0
        return i2ikd.Sample(0.5 * target, target, {}, self._keys[index])


class Brighten(i2ikd.Task):
    """Restore the brightness of squares."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift

    def dataset(self, split, augmentations=()):
        if split not in ("train", "val", "test") or augmentations:
            raise i2ikd.UserError(f"brighten: no split {split!r}")
        return Squares(split)

    def identity(self):
        return {"shift": self.shift}


class Bias(i2ikd.Metric):
    """Mean difference."""

    higher_is_better = False

    def __call__(self, prediction, target):
        return float((prediction - target).mean())


class Copy(Imitation):
    """Imitation by another name."""


class Objective(WeightedTerms):
    """Weighted terms by another name."""


class Doubled(i2ikd.Transform):
    """Doubles all weights."""

    def apply(self, network, batches, task):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(2)
        return network


def recipe(weight: float = 1.0) -> list[i2ikd.Stage]:
    """One stage with both terms."""
    return [
        i2ikd.Stage(
            name="only",
            terms=[
                i2ikd.Term(distiller="target"),
                i2ikd.Term(distiller="import:own_kinds:Copy", weight=weight),
            ],
        )
    ]


class Reader:
    """Text files of numbers."""

    suffixes = (".txt",)

    def __call__(self, path: Path):
        return Volume(path)


class Volume:
    def __init__(self, path):
        self.name, self.values = path.stem, np.loadtxt(path, dtype=np.float32)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"image": self.values}


class Weights(Safetensors):
    """Weights by another name."""
'''

EXPERIMENT = """
name = "own"
seeds = [0]
task = { name = "import:own_kinds:Brighten", shift = 1 }
teacher = { model = "plain-cnn", depth = 3, channels = 4 }
student = { model = "plain-cnn", depth = 2, channels = 4 }
training = { epochs = 1, batch = 2, device = "cpu" }
comparison = { latency = false, metrics = { bias = "import:own_kinds:Bias" } }

[[arms]]
name = "student"

[[arms]]
name = "copied"
recipe = "import:own_kinds:recipe"
weight = 0.5

[[arms]]
name = "objective"
recipe = "custom"
stages = [{ name = "only", objective = { name = "import:own_kinds:Objective", terms = [{ distiller = "target" }] } }]

[[arms]]
name = "doubled"
of = "student"
transforms = ["import:own_kinds:Doubled"]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_kinds.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "own.toml").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_kinds", None)


def test_an_experiment_of_imported_components(own: Path, i2ikd: Any, without_report: None) -> None:
    result = i2ikd("compare", own / "own.toml", "--out", own / "out", "--json")
    assert result.code == 0, result.err
    rows = {row["arm"]: row for row in json.loads(result.out)["rows"]}
    assert {"student", "copied", "objective", "doubled"} <= rows.keys()
    assert rows["doubled"]["bias"]["mean"] != rows["student"]["bias"]["mean"]
    assert rows["objective"]["psnr"]["mean"] == rows["student"]["psnr"]["mean"], "the same terms"
    assert rows["copied"]["psnr"]["mean"] != rows["student"]["psnr"]["mean"]
    with (own / "out" / "records.csv").open(newline="") as file:
        assert "import:own_kinds:Bias" in next(csv.reader(file))

    run = own / "out" / "students" / "student" / "seed0"
    command = ("export", run, "--output", own / "net.weights", "--format", "import:own_kinds:Weights", "--trust")
    exported = i2ikd(*command)
    assert exported.code == 0, exported.err
    assert (own / "net.weights").is_file()


def test_an_imported_reader(own: Path, i2ikd: Any, tiny_file: Path) -> None:
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (own / "texts" / split).mkdir(parents=True)
        np.savetxt(own / "texts" / split / f"{split}.txt", random.random((16, 12)) + 0.1)
    dataset = f"task.dataset={{name='folder', root='{own / 'texts'}', reader='import:own_kinds:Reader'}}"
    result = i2ikd("data", tiny_file, "-o", dataset)
    assert result.code == 0, result.err
    assert result.out.startswith("train: 1 subject, 1 volume, 1 slice; 16 x 12; real; values 0.1")
