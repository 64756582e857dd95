"""Convolutions with one or two channels on one side and many on the other, as matrix products on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from i2ikd_mri.kernels.capture import is_captured


class ThinConvolution(nn.Conv2d):
    """``nn.Conv2d`` computed with matrix products on a CPU; parameters and state dict are those of ``nn.Conv2d``.

    With one or two channels on one side, torch's CPU kernels take the time of many times the operations (figures in
    ``docs/performance.md``). Each slow pass is replaced by one matrix product of the kernel with all pixels, whose
    k * k parts are shifted and summed. Only the order of summation changes, so values agree to rounding; in bfloat16,
    also under autocast, products are rounded and summed in float32. On other devices, in float16 and when compiled,
    traced, scripted or exported, ``nn.Conv2d`` is used.

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
    """Few channels to many: forward by ``conv2d``; its input gradient is a convolution of many channels to few."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(image, weight)
        if torch.backends.cpu.get_cpu_capability() != "AVX2":
            # The strides of a kernel of one channel, which is contiguous in both layouts, decide about those of the
            # features, and a computed weight (a parametrisation) loses them. With AVX2 alone the layout is as stated.
            weight = weight.clone(memory_format=torch.channels_last)
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
        return _gathered(features, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = ctx.saved_tensors
        gradient = gradient.contiguous()  # a Fourier transform's is transposed in memory: slow in oneDNN
        to_features = to_weight = None
        if ctx.needs_input_grad[0]:
            # In the layout of the features: the gradient of a ReLU takes five times as long where the two differ.
            layout = torch.channels_last if _channels_last(features) else torch.contiguous_format
            flipped = _transposed(weight).clone(memory_format=layout)
            to_features = F.conv2d(gradient, flipped, padding=weight.shape[-1] // 2)
        if ctx.needs_input_grad[1]:
            to_weight = _transposed(_correlated(features, gradient, weight.shape[-1]))
        return to_features, to_weight, gradient.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


def _transposed(weight: Tensor) -> Tensor:
    """Return the kernel of the transposed convolution: channels exchanged, both spatial axes flipped."""
    return weight.flip(2, 3).transpose(0, 1).contiguous()


def _channels_last(features: Tensor) -> bool:
    return features.is_contiguous(memory_format=torch.channels_last)


def _gathered(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve many channels [B, C, H, W] to few: products of kernel elements with all pixels, shifted and summed."""
    few, many, kernel, _ = weight.shape
    batch, _, height, width = features.shape
    taps = weight.permute(2, 3, 0, 1).reshape(kernel * kernel * few, many).expand(batch, -1, -1)
    products = torch.bmm(taps, _flat(features)).view(batch, kernel, kernel, few, height, width)
    pad = kernel // 2
    padded = F.pad(products, (pad, pad, pad, pad))
    of_batch, of_row, of_column, of_channel, row, column = padded.stride()
    # Element (r, c) of the kernel, one row down and one column right for each of its own rows and columns.
    shifted = padded.as_strided(products.shape, (of_batch, of_row + row, of_column + column, of_channel, row, column))
    summed = torch.float32 if features.dtype == torch.bfloat16 else features.dtype
    image = shifted.sum(2, dtype=summed).sum(1)
    if bias is not None:
        image = image + bias.view(1, -1, 1, 1)
    return image.to(features.dtype)


def _flat(features: Tensor) -> Tensor:
    """Return [B, C, H * W] of [B, C, H, W] without a copy, whether channels come first in memory or last."""
    if _channels_last(features):
        return features.permute(0, 2, 3, 1).flatten(1, 2).mT
    return features.reshape(*features.shape[:2], -1)


def _correlated(features: Tensor, image: Tensor, kernel: int) -> Tensor:
    """Return the weight gradient [many, few, k, k] for the input ``image`` and the output gradient ``features``."""
    batch, few, many, pad = *image.shape[:2], features.shape[1], kernel // 2
    if _channels_last(features):  # torch's kernel is fast if the image is stated to be channels-last too
        image = image.clone(memory_format=torch.channels_last)
        return conv2d_weight(image, (many, few, kernel, kernel), features, padding=pad)
    padded = F.pad(image, (pad, pad, pad, pad))
    shifted = padded.unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 1, 4, 5, 2, 3)
    products = torch.bmm(shifted.reshape(batch, few * kernel * kernel, -1), _flat(features).mT)
    summed = torch.float32 if products.dtype == torch.bfloat16 else products.dtype
    return products.sum(0, dtype=summed).t().reshape(many, few, kernel, kernel).to(image.dtype)
