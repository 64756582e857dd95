"""Activation checkpointing: bit-identical gradients, and features that are not stored."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from i2ikd_mri.kernels.checkpointed import checkpointed
from i2ikd_mri.kernels.convolution import convolution_block
from torch import Tensor, nn

from i2ikd.taps import Taps


class Pair:
    """Two blocks and an image; counts how often the first one runs."""

    def __init__(self, outputs: int = 8) -> None:
        torch.manual_seed(4)
        self.first = convolution_block(1, 8)
        self.second = convolution_block(8, outputs, activated=outputs > 1)
        self.image = torch.randn(2, 1, 9, 7)
        self.between: list[weakref.ref[Any]] = []
        self.second.register_forward_pre_hook(lambda _, inputs: self.between.append(weakref.ref(inputs[0])))
        self.runs = 0
        forward = self.first.forward

        def counted(image: Tensor) -> Tensor:
            self.runs += 1
            return forward(image)

        self.first.forward = counted  # type: ignore[method-assign]

    def gradients(self, output: Tensor, leaf: Tensor, **options: Any) -> tuple[Tensor, ...]:
        leaves = [leaf, *self.first.parameters(), *self.second.parameters()]
        return torch.autograd.grad(output.square().sum(), leaves, **options)


@pytest.mark.parametrize("outputs", [1, 8])
def test_output_and_gradients_are_those_of_the_modules_bit_by_bit(outputs: int) -> None:
    pair = Pair(outputs)
    leaf = pair.image.requires_grad_()
    output, expected = checkpointed(pair.first, pair.second, leaf), pair.second(pair.first(leaf))
    assert torch.equal(output, expected)
    for found, other in zip(pair.gradients(output, leaf), pair.gradients(expected, leaf), strict=True):
        assert torch.equal(found, other)


def test_features_are_freed_and_recomputed_once() -> None:
    pair = Pair()
    output = checkpointed(pair.first, pair.second, pair.image)
    assert pair.between[0]() is None
    assert pair.runs == 1
    output.sum().backward()
    assert pair.runs == 2


def test_a_retained_graph_can_be_used_twice() -> None:
    pair = Pair()
    leaf = pair.image.requires_grad_()
    output = checkpointed(pair.first, pair.second, leaf)
    first, again = pair.gradients(output, leaf, retain_graph=True), pair.gradients(output, leaf)
    assert all(torch.equal(a, b) for a, b in zip(first, again))


@pytest.mark.parametrize("frozen", ["first", "second"])
def test_gradients_are_the_same_with_frozen_weights(frozen: str) -> None:
    pair = Pair()
    getattr(pair, frozen).requires_grad_(False)
    weights = [w for w in (*pair.first.parameters(), *pair.second.parameters()) if w.requires_grad]
    outputs = checkpointed(pair.first, pair.second, pair.image), pair.second(pair.first(pair.image))
    found, expected = (torch.autograd.grad(output.square().sum(), weights) for output in outputs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


@pytest.mark.parametrize("path", ["convolution", "activation"])
def test_a_tap_inside_captures_one_call(path: str) -> None:
    pair = Pair()
    with Taps(pair.first, [path]) as taps:
        checkpointed(pair.first, pair.second, pair.image).sum().backward()
        assert len(taps.take([path])) == 1
    assert pair.runs == 1, "features are stored"


def test_without_gradients_or_under_autocast_features_are_stored() -> None:
    pair = Pair()
    with torch.no_grad():
        assert torch.equal(checkpointed(pair.first, pair.second, pair.image), pair.second(pair.first(pair.image)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = checkpointed(pair.first, pair.second, pair.image)
    runs = pair.runs
    output.sum().backward()
    assert output.dtype == torch.bfloat16
    assert pair.runs == runs


def test_modules_of_any_kind_are_supported() -> None:
    torch.manual_seed(5)
    first, second = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Sigmoid()), nn.Conv2d(4, 2, 3)
    leaf = torch.randn(1, 1, 6, 6, requires_grad=True)
    found, expected = (
        torch.autograd.grad(output.square().sum(), [leaf, *first.parameters(), *second.parameters()])
        for output in (checkpointed(first, second, leaf), second(first(leaf)))
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_features_changed_in_place_are_stored() -> None:
    torch.manual_seed(6)
    first, second = nn.Conv2d(1, 4, 1), nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
    leaf = torch.randn(1, 1, 6, 6, requires_grad=True)
    found, expected = (
        torch.autograd.grad(output.square().sum(), [leaf, *first.parameters(), *second.parameters()])
        for output in (checkpointed(first, second, leaf), second(first(leaf)))
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
