"""The pruned teacher has the student's widths and the teacher's most important channels."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, Start, UserError
from i2ikd.engine.pruning import pruned_tensors

pytest.importorskip("torch_pruning")
BATCH = Batch(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))


class Plain(nn.Module):
    def __init__(self, width: int, depth: int = 3) -> None:
        super().__init__()
        widths = [1, *[width] * (depth - 1), 1]
        self.layers = nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)))

    def forward(self, input: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            input = layer(input).relu()
        output: Tensor = self.layers[-1](input)
        return output


def test_removing_channels_without_effect_changes_nothing() -> None:
    """Channels whose weights are 0 are the least important ones, and the network computes the same without them."""
    torch.manual_seed(0)
    wide, narrow = Plain(6), Plain(4)
    with torch.no_grad():
        for layer, after, removed in ((0, 1, (1, 4)), (1, 2, (0, 5))):
            for channel in removed:
                wide.layers[layer].weight[channel] = 0  # type: ignore[union-attr, operator, index]
                wide.layers[layer].bias[channel] = 0  # type: ignore[union-attr, operator, index]
                wide.layers[after].weight[:, channel] = 0  # type: ignore[union-attr, operator, index]
    before = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    for norm in ("l1", "l2"):
        narrow.load_state_dict(pruned_tensors(wide, narrow, BATCH, norm, "here"))  # type: ignore[arg-type]
        torch.testing.assert_close(narrow(BATCH.input), wide(BATCH.input))
    assert torch.equal(narrow.layers[0].weight, wide.layers[0].weight[[0, 2, 3, 5]])  # type: ignore[union-attr, operator, index]
    assert all(torch.equal(tensor, before[name]) for name, tensor in wide.state_dict().items())


def test_other_depths_and_wider_networks_are_refused() -> None:
    with pytest.raises(UserError, match=r"here: expected networks with the same layers .*, got layers.3 in one alone"):
        pruned_tensors(Plain(6, 4), Plain(4), BATCH, "l2", "here")
    with pytest.raises(UserError, match=r"here: .*(no layer of equal name and shape|another shape of layers.0)"):
        pruned_tensors(Plain(4), Plain(6), BATCH, "l2", "here")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UserError, match=r'here: prune needs torch-pruning, .*pip install "i2ikd\[pruning\]"'):
        pruned_tensors(Plain(6), Plain(4), BATCH, "l2", "here")


def test_a_start_without_pruning_is_stored_as_before() -> None:
    start = Start.model_validate({"from": "teacher"})
    assert start.model_dump(mode="json") == {"source": "teacher", "map": None, "network": None}
    assert Start.model_validate({"from": "teacher", "prune": "l2"}).model_dump()["prune"] == "l2"
    with pytest.raises(ValueError, match="state either prune or map"):
        Start.model_validate({"from": "teacher", "prune": "l2", "map": []})


def test_a_student_is_trained_from_a_pruned_teacher(laboratory: Any) -> None:
    arms = [
        {"name": "student", "student": {"depth": 4, "channels": 2, "transforms": ["collapsible"]}},
        {
            "name": "pruned",
            "recipe": "pruned-start",
            "warmup_epochs": 0,
            "student": {"depth": 4, "channels": 2, "transforms": ["collapsible"]},
        },
    ]
    graph = laboratory.graph("training.epochs=1", "training.lr=1e-12", arms=arms)
    run = laboratory.train(graph, "pruned")
    trained, teacher = laboratory.weights(run), laboratory.weights(graph.teacher_run(0))
    network = i2ikd.create("model", "dc-cnn", cascades=2, depth=4, channels=2)
    source = i2ikd.create("model", "dc-cnn", cascades=2, depth=4, channels=4)
    source.load_state_dict(teacher)
    expected = pruned_tensors(source, network, next(iter(graph.context.validation())), "l2", "here")
    assert expected.keys() == trained.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=1e-5)
