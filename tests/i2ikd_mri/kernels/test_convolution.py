"""Block of convolution and ReLU: in place only where no hook or caller depends on it."""

from __future__ import annotations

import pytest
import torch
from i2ikd_mri.kernels.convolution import convolution_block
from torch import Tensor, nn

from i2ikd.taps import Taps


@pytest.fixture
def image() -> Tensor:
    return torch.randn(2, 4, 7, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("outputs", [1, 4, 12])
def test_values_and_gradients_are_those_of_the_two_modules(image: Tensor, outputs: int) -> None:
    block = convolution_block(4, outputs)
    results = []
    for called in (block, nn.Sequential(*block)):
        leaf = image.clone().requires_grad_()
        output = called(leaf)
        results.append([output, *torch.autograd.grad(output.square().sum(), [leaf, *block.parameters()])])
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("path", ["convolution", "activation"])
def test_a_tap_captures_the_output_of_its_module(image: Tensor, path: str) -> None:
    block = convolution_block(4, 8)
    with Taps(block, [path]) as taps:
        output = block(image)
        (tapped,) = taps.take([path])
    before = block[0](image)
    assert (before < 0).any()
    assert torch.equal(tapped, before if path == "convolution" else before.relu())
    assert torch.equal(output, before.relu())


@pytest.mark.parametrize("hook", ["register_forward_pre_hook", "register_full_backward_hook"])
def test_other_hooks_are_called_too(image: Tensor, hook: str) -> None:
    block, calls = convolution_block(4, 8), []
    getattr(block[1], hook)(lambda *arguments: calls.append(hook))
    block(image).sum().backward()
    assert calls == [hook]


def test_replaced_modules_are_called(image: Tensor) -> None:
    block = convolution_block(4, 8)
    block.activation = nn.GELU()
    torch.testing.assert_close(block(image), nn.functional.gelu(block[0](image)))
    block[0], block.activation = nn.Identity(), nn.ReLU()
    untouched = image.clone()
    assert torch.equal(block(image), untouched.relu())
    assert torch.equal(image, untouched)
