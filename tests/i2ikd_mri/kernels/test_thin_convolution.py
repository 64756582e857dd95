"""ThinConvolution equals Conv2d: values, gradients, layouts, weights, exported graph and counted operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from i2ikd_mri.kernels.convolution import convolution_block
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
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


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), SHAPES)
@pytest.mark.parametrize("autocast", [True, False])
def test_values_and_gradients_in_bfloat16_are_within_its_rounding(
    inputs: int, outputs: int, kernel: int, autocast: bool
) -> None:
    """Partial sums and the result are rounded once each: by 2^-8 of the sum of the magnitudes of all products."""
    torch.manual_seed(outputs)
    dtype = torch.float32 if autocast else torch.bfloat16
    thin = ThinConvolution(inputs, outputs, kernel, padding=kernel // 2, dtype=dtype)
    image = torch.randn(3, inputs, 7, 10).bfloat16()
    direction = torch.randn(3, outputs, 7, 10).bfloat16()
    leaf = image.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        output = thin(leaf)
    assert output.dtype == torch.bfloat16
    found = [output, *torch.autograd.grad(output, [leaf, *thin.parameters()], direction)]
    rounded = [p.detach().bfloat16().double() for p in thin.parameters()]
    expected = _in_float64(image.double(), rounded, direction.double())
    magnitudes = _in_float64(image.double().abs(), [p.abs() for p in rounded], direction.double().abs())
    for value, exact, magnitude in zip(found, expected, magnitudes):
        assert bool(((value.double() - exact).abs() <= 2.1 * 2**-8 * magnitude).all())


def _in_float64(image: Tensor, parameters: list[Tensor], direction: Tensor) -> list[Tensor]:
    leaves = [image.requires_grad_(), *(p.requires_grad_() for p in parameters)]
    output = F.conv2d(*leaves, padding=parameters[0].shape[-1] // 2)
    return [output.detach(), *torch.autograd.grad(output, leaves, direction)]


@pytest.mark.parametrize(
    ("memory_format", "autocast"),
    [(torch.contiguous_format, False), (torch.channels_last, False), (torch.channels_last, True)],
)
def test_the_gradient_of_features_has_their_layout(memory_format: torch.memory_format, autocast: bool) -> None:
    """The gradient of a ReLU before the convolution takes several times as long where the two layouts differ."""
    thin = ThinConvolution(8, 1, 3, padding=1).to(memory_format=memory_format)
    features = torch.randn(2, 8, 6, 5).contiguous(memory_format=memory_format).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        output = thin(features)
    gradient = torch.autograd.grad(output, features, torch.randn(2, 1, 5, 6).mT.to(output.dtype))[0]
    assert gradient.is_contiguous(memory_format=memory_format)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


@pytest.mark.parametrize("autocast", [True, False])
def test_features_of_a_computed_weight_are_channels_last(autocast: bool) -> None:
    """An elementwise operation loses the strides that state the layout of a kernel with one channel."""
    thin = ThinConvolution(1, 8, 3, padding=1)
    parametrize.register_parametrization(thin, "weight", Doubled())
    thin.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        features = thin(torch.randn(2, 1, 6, 5))
    assert features.is_contiguous(memory_format=torch.channels_last) is (
        torch.backends.cpu.get_cpu_capability() != "AVX2"
    )


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 8), (8, 1)])
def test_export_and_float16_use_the_convolution(inputs: int, outputs: int) -> None:
    thin = ThinConvolution(inputs, outputs, 3, padding=1)
    image = torch.randn(1, inputs, 6, 6)
    with torch.autocast("cpu", dtype=torch.float16):
        torch.testing.assert_close(thin(image), F.conv2d(image, thin.weight, thin.bias, padding=1))
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
