"""Shapes of taps are those of the modules' outputs; suggested pairs have equal sizes and order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2ikd import Batch, UserError
from i2ikd.tap_suggestions import suggested_pairs, tap_shapes


class Net(nn.Module):
    """Two resolutions: ``wide`` convolutions with ReLU at full size, then ``deep`` at half size."""

    def __init__(self, wide: int, deep: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*self.blocks(1, wide, width))
        self.down = nn.AvgPool2d(2)
        self.inner = nn.Sequential(*self.blocks(width, deep, 2 * width))
        self.last = nn.Conv2d(2 * width, 4, 1)
        self.up = nn.PixelShuffle(2)
        self.unused = nn.ReLU()

    def blocks(self, channels: int, count: int, width: int) -> list[nn.Module]:
        pairs = [(nn.Conv2d(width if index else channels, width, 3, padding=1), nn.ReLU()) for index in range(count)]
        return [module for pair in pairs for module in pair]

    def forward(self, image: Tensor) -> Tensor:
        output: Tensor = self.up(self.last(self.inner(self.down(self.first(image)))))
        return output


BATCH = Batch(torch.zeros(1, 1, 8, 6), torch.empty(1, 0), labelled=torch.zeros(1, dtype=torch.bool))


def test_shapes_are_those_of_the_outputs_in_the_order_of_calls() -> None:
    network = Net(1, 1, 3).train()
    shapes = tap_shapes(network, BATCH)
    assert shapes["first.0"] == (3, 8, 6) and shapes["inner.1"] == (6, 4, 3) and shapes["up"] == (1, 8, 6)
    assert "unused" not in shapes and list(shapes)[-1] == "up"
    assert network.training and not network.up._forward_hooks


def test_pairs_are_the_last_activations_of_each_size() -> None:
    assert suggested_pairs(Net(3, 4, 5), Net(2, 1, 3), BATCH) == [("first.5", "first.3"), ("inner.7", "inner.1")]


def test_a_network_of_one_size_has_a_pair_in_its_middle_too() -> None:
    teacher, student = (nn.Sequential(*Net(n, 0, 4).first, nn.Conv2d(4, 1, 1)) for n in (6, 3))
    assert suggested_pairs(teacher, student, BATCH) == [("7", "3"), ("11", "5")]


def test_an_input_that_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match=r"Conv2d cannot take input \[1, 1, 8, 6\]: RuntimeError"):
        tap_shapes(nn.Conv2d(3, 1, 1), BATCH)


def test_the_command_prints_shapes_and_pairs(monkeypatch: Any, capsys: Any) -> None:
    from i2ikd.cli.main import run

    words = ["show", "model", "plain-cnn", "--taps", "-o", "depth=5", "-o", "in_channels=3", "--input", "3,8,6"]
    assert run([*words, "--student", "plain-cnn", "--student-option", "in_channels=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["layers.0.activation", "ReLU", "[32,", "8,", "6]"]
    assert lines[-1].startswith('pairs = [["layers.1.activation", "layers.1.activation"], ["layers.3')
    assert run([*words[:4], "--input", "3,8"]) == 2
    assert "--input: expected C,H,W such as 3,128,128, got '3,8'" in capsys.readouterr().err
    assert run(["show", "model", "plain-cnn", "--input", "1,8,8"]) == 2
