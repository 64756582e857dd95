"""ThinConvolution equals Conv2d: values, gradients, weights, exported graph and counted operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri.kernels.convolution import convolution_block
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

SHAPES = [(1, 32, 3), (32, 1, 3), (2, 9, 5), (9, 2, 5), (1, 8, 1), (8, 1, 1)]


def both(inputs: int, outputs: int, kernel: int, bias: bool = True) -> tuple[ThinConvolution, nn.Conv2d]:
    thin = ThinConvolution(inputs, outputs, kernel, padding=kernel // 2, bias=bias, dtype=torch.float64)
    plain = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias, dtype=torch.float64)
    plain.load_state_dict(thin.state_dict())
    return thin, plain


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), SHAPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_the_convolution(
    inputs: int, outputs: int, kernel: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(inputs)
    thin, plain = both(inputs, outputs, kernel)
    image = torch.randn(3, inputs, 7, 10, dtype=torch.float64).contiguous(memory_format=memory_format)
    direction = torch.randn(3, outputs, 7, 10, dtype=torch.float64).contiguous(memory_format=memory_format)
    results: list[list[Tensor]] = []
    for layer in (thin, plain):
        leaf = image.clone().requires_grad_()
        output = layer(leaf)
        results.append([output, *torch.autograd.grad(output, [leaf, *layer.parameters()], direction)])
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 8), (8, 1)])
def test_gradients_with_a_frozen_input_or_weight_or_without_bias(inputs: int, outputs: int) -> None:
    thin, plain = both(inputs, outputs, 3, bias=False)
    image = torch.randn(2, inputs, 6, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(plain(image).square().sum(), image)[0]
    thin.weight.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(thin(image).square().sum(), image)[0], expected)
    thin.weight.requires_grad_(True)
    thin(image.detach()).square().sum().backward()
    plain(image.detach()).square().sum().backward()
    torch.testing.assert_close(thin.weight.grad, plain.weight.grad)


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), SHAPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_values_without_gradients(
    inputs: int, outputs: int, kernel: int, memory_format: torch.memory_format, without: Any
) -> None:
    thin, plain = both(inputs, outputs, kernel)
    image = torch.randn(2, inputs, 9, 8, dtype=torch.float64).contiguous(memory_format=memory_format)
    with without():
        torch.testing.assert_close(thin(image), plain(image), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 8), (8, 1)])
def test_autocast_and_export_use_the_convolution(inputs: int, outputs: int) -> None:
    thin = ThinConvolution(inputs, outputs, 3, padding=1)
    image = torch.randn(1, inputs, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert thin(image).dtype == torch.bfloat16
    exported = torch.export.export(thin, (image,))
    assert [n.target for n in exported.graph.nodes if n.op == "call_function"] == [torch.ops.aten.conv2d.default]


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 8), (8, 1)])
def test_torch_counts_the_operations_of_the_convolution(inputs: int, outputs: int) -> None:
    counts = []
    for layer in both(inputs, outputs, 3):
        image = torch.randn(2, inputs, 6, 6, dtype=torch.float64, requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            layer(image).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("inputs", "outputs", "thin"), [(1, 32, True), (32, 2, True), (32, 32, False), (1, 4, False)])
def test_blocks_use_it_for_few_channels_on_one_side(inputs: int, outputs: int, thin: bool) -> None:
    assert isinstance(convolution_block(inputs, outputs)[0], ThinConvolution) is thin
