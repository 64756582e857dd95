"""Convolutions whose own gradients, sums over all pixels of a batch, are right in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from i2ikd import full_precision

POSITIONS = 1 << 14
"""Pixels that are added one by one in float32; the sums of the strips are added in float64."""


STRIPS = 16
"""At least that many strips, because each is copied."""


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, bias, padding=weight.shape[-1] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        of_input, of_weight, of_bias = ctx.needs_input_grad
        reach = weight.shape[-1] // 2
        with full_precision(input):
            weights = (
                _weight_gradient(gradient, input, weight) if of_weight else None
            )  # before a further map is allocated
            inputs = _gradients(gradient, input, weight, (reach, reach), of_weight=False) if of_input else None
            return inputs, weights, gradient.sum(dim=(0, 2, 3)) if of_bias else None


def _gradients(gradient: Tensor, input: Tensor, weight: Tensor, padding: tuple[int, int], of_weight: bool) -> Tensor:
    """Return the gradient of the weight, or of the input."""
    mask = [not of_weight, of_weight, False]
    found = torch.ops.aten.convolution_backward(
        gradient, input, weight, None, [1, 1], list(padding), [1, 1], False, [0, 0], 1, mask
    )
    result: Tensor = found[int(of_weight)]
    return result


def _weight_gradient(gradient: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    """Add the gradients of strips of rows, each with the rows that the kernel reaches beyond it."""
    reach = weight.shape[-1] // 2
    batch, _, height, width = gradient.shape
    step = max(1, min(POSITIONS // (batch * width), -(-height // STRIPS)))
    total = torch.zeros_like(weight, dtype=torch.float64)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = max(0, top - reach), min(height, bottom + reach)
        rows = F.pad(input[:, :, first:last], (0, 0, first - top + reach, bottom + reach - last))
        total += _gradients(gradient[:, :, top:bottom], rows, weight, (0, reach), of_weight=True)
    return total.to(weight.dtype)


class Convolution(nn.Conv2d):
    """Convolution with an odd kernel, stride 1, and zeros around the image.

    On a CPU the gradient of a weight is otherwise a sum in float32, one product after the other; where features are
    constant (air) every addition rounds the same way, and 235,520 pixels leave an error of 0.2 %.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return [B, outputs, H, W] of [B, inputs, H, W]; once differentiable on a CPU."""
        if input.device.type != "cpu":
            return super().forward(input)
        result: Tensor = _Convolution.apply(input, self.weight, self.bias)
        return result
