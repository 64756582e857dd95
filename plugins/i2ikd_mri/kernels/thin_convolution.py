"""Convolutions with one or two channels on one side and many on the other, as matrix products on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from i2ikd_mri.kernels.capture import is_captured


class ThinConvolution(nn.Conv2d):
    """``nn.Conv2d`` computed with matrix products on a CPU; parameters and state dict are those of ``nn.Conv2d``.

    With one or two channels on one side, torch's CPU kernels take the time of many times the operations (figures in
    ``docs/performance.md``). Each slow pass is replaced by one matrix product of the kernel and k * k shifted copies of
    the thin image. Only the order of summation changes, so values agree to rounding. On other devices, in other
    precisions and when compiled, traced, scripted or exported, ``nn.Conv2d`` is used.

    Requires an odd kernel, ``padding = kernel // 2``, and no stride, dilation or groups. The arguments are those of
    ``nn.Conv2d``.
    """

    @staticmethod
    def pays(inputs: int, outputs: int) -> bool:
        """Whether matrix products are faster: at most 2 channels on one side and at least 8 on the other.

        Args:
            inputs: input channels.
            outputs: output channels.
        """
        return min(inputs, outputs) <= 2 and max(inputs, outputs) >= 8

    def forward(self, input: Tensor) -> Tensor:
        """Map ``input`` [B, inputs, H, W] to [B, outputs, H, W]."""
        if torch.jit.is_scripting():
            return self._conv_forward(input, self.weight, self.bias)
        return self._forward(input)

    @torch.jit.unused
    def _forward(self, input: Tensor) -> Tensor:
        """Convolve with matrix products where that is faster."""
        weight = self.weight  # read once: a parametrised weight is computed at every access
        plain = (
            input.device.type != "cpu"
            or input.dtype != weight.dtype
            or torch.is_autocast_enabled("cpu")
            or is_captured()
        )
        if plain:
            return self._conv_forward(input, weight, self.bias)
        function = _FromImage if self.in_channels < self.out_channels else _ToImage
        output: Tensor = function.apply(input, weight, self.bias)
        return output


class _FromImage(torch.autograd.Function):
    """Few channels to many: forward by ``conv2d``, gradients by matrix products."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(image, weight)
        return F.conv2d(image, weight, bias, padding=weight.shape[-1] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        image, weight = ctx.saved_tensors
        to_image = to_weight = None
        if ctx.needs_input_grad[0]:
            to_image = _gathered(gradient, _transposed(weight))
        if ctx.needs_input_grad[1]:
            to_weight = _correlated(gradient, image, weight.shape[-1])
        return to_image, to_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class _ToImage(torch.autograd.Function):
    """Many channels to few; the input gradient is a convolution of few channels to many with the flipped kernel."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weight)
        image = _gathered(features, weight)
        return image if bias is None else image + bias.view(1, -1, 1, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        to_features = to_weight = None
        if ctx.needs_input_grad[0]:
            to_features = F.conv2d(gradient, _transposed(weight), padding=weight.shape[-1] // 2)
        if ctx.needs_input_grad[1]:
            to_weight = _transposed(_correlated(features, gradient, weight.shape[-1]))
        return to_features, to_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _transposed(weight: Tensor) -> Tensor:
    """Return the kernel of the transposed convolution: channels exchanged, both spatial axes flipped."""
    return weight.flip(2, 3).transpose(0, 1).contiguous()


def _gathered(features: Tensor, weight: Tensor) -> Tensor:
    """Convolve many channels [B, C, H, W] to few: products of kernel elements with all pixels, shifted and summed."""
    few, many, kernel, _ = weight.shape
    batch, _, height, width = features.shape
    taps = weight.permute(2, 3, 0, 1).reshape(kernel * kernel * few, many).expand(batch, -1, -1)
    products = torch.bmm(taps, _flat(features))
    products = products.view(batch, kernel, kernel, few, height, width)
    pad = kernel // 2
    padded = features.new_zeros(batch, few, height + 2 * pad, width + 2 * pad)
    for row in range(kernel):
        for column in range(kernel):
            top, left = 2 * pad - row, 2 * pad - column
            padded[:, :, top : top + height, left : left + width] += products[:, row, column]
    return padded[:, :, pad : pad + height, pad : pad + width].contiguous()


def _flat(features: Tensor) -> Tensor:
    """Return [B, C, H * W] of [B, C, H, W] without a copy, whether channels come first in memory or last."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).flatten(1, 2).mT
    return features.reshape(*features.shape[:2], -1)


def _correlated(features: Tensor, image: Tensor, kernel: int) -> Tensor:
    """Return the weight gradient [many, few, k, k] for the input ``image`` and the output gradient ``features``."""
    batch, few, height, width = image.shape
    pad = kernel // 2
    padded = F.pad(image, (pad, pad, pad, pad))
    shifted = image.new_empty(batch, few, kernel, kernel, height, width)
    for row in range(kernel):
        for column in range(kernel):
            shifted[:, :, row, column] = padded[:, :, row : row + height, column : column + width]
    flat = shifted.view(batch, few * kernel * kernel, height * width)
    products = torch.bmm(flat, features.reshape(batch, -1, height * width).transpose(1, 2))
    return products.sum(0).t().reshape(features.shape[1], few, kernel, kernel)
