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
    the thin image. Only the order of summation changes, so values agree to rounding; in bfloat16, also under autocast,
    products are rounded and summed in float32. On other devices, under autocast to float16 and when compiled, traced,
    scripted or exported, ``nn.Conv2d`` is used.

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
        weight, bias = self.weight, self.bias  # read once: a parametrised weight is computed at every access
        if input.device.type != "cpu" or is_captured():
            return self._conv_forward(input, weight, bias)
        if torch.is_autocast_enabled("cpu") and input.dtype != torch.float64:
            lower = torch.get_autocast_dtype("cpu")
            input, weight = input.to(lower), weight.to(lower)
            bias = None if bias is None else bias.to(lower)
        if input.dtype != weight.dtype or input.dtype == torch.float16:
            return self._conv_forward(input, weight, bias)
        function = _FromImage if self.in_channels < self.out_channels else _ToImage
        with torch.autocast("cpu", enabled=False):
            output: Tensor = function.apply(input, weight, bias)
        return output


class _FromImage(torch.autograd.Function):
    """Few channels to many; gradients by matrix products."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(image, weight)
        return _spread(image, weight, bias)

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
        return _gathered(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        to_features = to_weight = None
        if ctx.needs_input_grad[0]:
            # In the layout of the features: a ReLU's gradient takes five times as long where the two differ.
            to_features = _spread(gradient, _transposed(weight).clone(memory_format=_layout(features)))
        if ctx.needs_input_grad[1]:
            to_weight = _transposed(_correlated(features, gradient, weight.shape[-1]))
        return to_features, to_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _transposed(weight: Tensor) -> Tensor:
    """Return the kernel of the transposed convolution: channels exchanged, both spatial axes flipped."""
    return weight.flip(2, 3).transpose(0, 1).contiguous()


def _layout(features: Tensor) -> torch.memory_format:
    last = features.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _spread(image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve few channels [B, C, H, W] to many: in bfloat16 a product of the kernel with shifted images."""
    if image.dtype != torch.bfloat16:
        return F.conv2d(image, weight, bias, padding=weight.shape[-1] // 2)
    many, few, kernel, _ = weight.shape
    batch, _, height, width = image.shape
    pixels = _shifted(image, kernel).view(batch, few * kernel * kernel, height * width).mT
    taps = weight.reshape(many, -1).t().expand(batch, -1, -1)
    shape = batch, many, height, width
    features = torch.empty(shape, dtype=image.dtype, memory_format=torch.channels_last)
    shift = image.new_zeros(many) if bias is None else bias
    torch.baddbmm(shift.expand(batch, 1, many), pixels, taps, out=_flat(features).mT)
    return features


def _gathered(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve many channels [B, C, H, W] to few: products of kernel elements with all pixels, shifted and summed."""
    few, many, kernel, _ = weight.shape
    batch, _, height, width = features.shape
    taps = weight.permute(2, 3, 0, 1).reshape(kernel * kernel * few, many).expand(batch, -1, -1)
    products = torch.bmm(taps, _flat(features))
    products = products.view(batch, kernel, kernel, few, height, width)
    pad = kernel // 2
    summed = torch.float32 if features.dtype == torch.bfloat16 else features.dtype
    padded = features.new_zeros(batch, few, height + 2 * pad, width + 2 * pad, dtype=summed)
    for row in range(kernel):
        for column in range(kernel):
            top, left = 2 * pad - row, 2 * pad - column
            padded[:, :, top : top + height, left : left + width] += products[:, row, column]
    image = padded[:, :, pad : pad + height, pad : pad + width]
    if bias is not None:
        image = image + bias.view(1, -1, 1, 1)
    return image.to(features.dtype, memory_format=torch.contiguous_format)


def _flat(features: Tensor) -> Tensor:
    """Return [B, C, H * W] of [B, C, H, W] without a copy, whether channels come first in memory or last."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features.permute(0, 2, 3, 1).flatten(1, 2).mT
    return features.reshape(*features.shape[:2], -1)


def _correlated(features: Tensor, image: Tensor, kernel: int) -> Tensor:
    """Return the weight gradient [many, few, k, k] for the input ``image`` and the output gradient ``features``."""
    batch, few, height, width = image.shape
    flat = _shifted(image, kernel).view(batch, few * kernel * kernel, height * width)
    products = torch.bmm(flat, _flat(features).mT)
    summed = products.sum(0, dtype=torch.float32 if products.dtype == torch.bfloat16 else None)
    return summed.t().reshape(features.shape[1], few, kernel, kernel).to(image.dtype)


def _shifted(image: Tensor, kernel: int) -> Tensor:
    """Return [B, C, k, k, H, W], for every element of the kernel the pixels that it is multiplied with."""
    batch, few, height, width = image.shape
    pad = kernel // 2
    padded = F.pad(image, (pad, pad, pad, pad))
    shifted = image.new_empty(batch, few, kernel, kernel, height, width)
    for row in range(kernel):
        for column in range(kernel):
            shifted[:, :, row, column] = padded[:, :, row : row + height, column : column + width]
    return shifted
