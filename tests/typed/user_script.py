"""A user's script: every public function, as mypy --strict sees it."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import i2ikd
from i2ikd import Batch, Distiller, Features, Knowledge, Stage, Term, UserError


class Edges(Distiller):
    uses_taps = False

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        return {"edges": teacher.image().diff(dim=-1)}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        return (student.image().diff(dim=-1) - knowledge["edges"]).abs().mean()


def network() -> nn.Module:
    return nn.Conv2d(1, 1, 3, padding=1)


images = torch.rand(8, 1, 16, 16)
loader = DataLoader(TensorDataset(images, images), batch_size=2)
stages = [Stage(name="edges", terms=[Term(distiller=Edges(), weight=0.5), Term(distiller="target")], epochs=1)]

result = i2ikd.distill(network(), network(), loader, loader, recipe=stages, training={"lr": 1e-3})
assert_type(result, i2ikd.DistillResult)
assert_type(result.student, nn.Module)
assert_type(result.metrics["student"]["psnr"], float)
i2ikd.distill(None, network(), [{"input": images, "target": images}], recipe=Edges, options={"alpha": 0.5})

comparison = i2ikd.compare(
    network(), network, loader, loader, loader, arms=["imitation", Edges, {"name": "mine", "recipe": stages}], seeds=2
)
assert_type(comparison, i2ikd.ComparisonResult)
assert_type(comparison.verdict, list[str])
assert_type(comparison.network("mine"), nn.Module)

assert_type(i2ikd.load(Path("runs/first/students/kd-mri/seed0")), nn.Module)
assert_type(i2ikd.create("model", "plain-cnn", channels=8), nn.Module)
assert_type(i2ikd.create("distiller", "fitnet"), Distiller)
assert_type(i2ikd.create("task", "pairs", root="data"), i2ikd.Task)
assert_type(i2ikd.create("metric", "psnr-slice-max"), i2ikd.Metric)
assert_type(i2ikd.create("recipe", "kd-mri"), list[Stage])
assert_type(i2ikd.get("model", "plain-cnn")(), nn.Module)
predictor = i2ikd.Predictor("bundle")
assert_type(predictor, i2ikd.Predictor)
image: np.ndarray[Any, Any] = predictor(input=np.zeros((1, 1, 4, 4), np.float32))
try:
    assert_type(sorted(i2ikd.list_components("model")), list[str])
except UserError as error:
    print(error)
