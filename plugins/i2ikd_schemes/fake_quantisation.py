"""Fake quantisation: float32 arithmetic on the values that an int8 file would have, with gradients passed through."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

Convolution = nn.Conv2d | nn.ConvTranspose2d


def quantised_weight(weight: Tensor, axis: int = 0) -> Tensor:
    """Round a kernel to the values that it has in int8, one scale an output channel; the gradient is passed through.

    The scale is max |w| / 127, as in ONNX Runtime and NNCF; a channel of zeros stays 0.

    Args:
        weight: kernel.
        axis: of the output channels.

    >>> quantised_weight(torch.tensor([[127.0, 0.4, -3.6]]))
    tensor([[127.,   0.,  -4.]])
    """
    others = [index for index in range(weight.ndim) if index != axis]
    scale = (weight.detach().abs().amax(others, keepdim=True) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
    rounded = (weight.detach() / scale).round() * scale
    return weight + (rounded - weight).detach()


def quantised_activation(image: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Round values to 256 levels of a range that contains 0; the gradient passes within the range, and is 0 outside.

    The range is widened on one side until 0 is a level, as in NNCF.

    Args:
        image: any shape.
        low: smallest value, a scalar of at most 0.
        high: largest value, a scalar of at least 0.

    >>> quantised_activation(torch.tensor([-1.0, 0.3, 300.0]), torch.tensor(0.0), torch.tensor(255.0))
    tensor([  0.,   0., 255.])
    """
    tiny = torch.finfo(image.dtype).tiny
    zero = (-low / ((high - low) / 255).clamp_min(tiny)).round()
    scale = torch.maximum(high / (255 - zero).clamp_min(1), -low / zero.clamp_min(1)).clamp_min(tiny)
    limited = torch.minimum(torch.maximum(image, -zero * scale), (255 - zero) * scale)
    rounded = (limited.detach() / scale).round() * scale
    return limited + (rounded - limited).detach()


class QuantisedForward:
    """Forward pass of one convolution on fake-quantised input and weight, put in the place of ``forward``.

    Args:
        module: the convolution.
        ranges: [convolutions, 2], smallest and largest input of each, shared by all convolutions of a network.
        index: of this convolution.
    """

    def __init__(self, module: Convolution, ranges: Ranges, index: int) -> None:
        self._module = module
        self._ranges = ranges
        self._index = index

    def __call__(self, input: Tensor) -> Tensor:
        """Return the convolution of the values that an int8 file would have.

        Args:
            input: [B, C, H, W].
        """
        module = self._module
        if self._ranges.observing:
            self._ranges.observe(self._index, input)
        weight = module.weight
        if self._ranges.quantising:
            low, high = self._ranges.values[self._index].to(input.dtype)
            input = quantised_activation(input, low, high)
            weight = quantised_weight(weight, 1 if isinstance(module, nn.ConvTranspose2d) else 0)
        if isinstance(module, nn.ConvTranspose2d):
            padding, stride = module.padding, module.stride
            assert not isinstance(padding, str)
            rest = module.output_padding, module.groups, module.dilation
            return nn.functional.conv_transpose2d(input, weight, module.bias, stride, padding, *rest)
        return module._conv_forward(input, weight, module.bias)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the pass of the copied convolution with the same ranges."""
        return type(self)(copy.deepcopy(self._module, memo), self._ranges, self._index)


class Ranges:
    """Ranges of the inputs of a network's convolutions.

    Args:
        values: [convolutions, 2], changed in place.
        momentum: share of a batch in the moving range.
    """

    def __init__(self, values: Tensor, momentum: float) -> None:
        self.values = values
        self.observing = False
        self.quantising = True
        self._momentum = momentum

    @torch.no_grad()
    def observe(self, index: int, input: Tensor) -> None:
        """Move the range of a convolution to that of a batch; without quantisation, widen it.

        Args:
            index: of the convolution.
            input: of the convolution.
        """
        own = self.values[index]
        low, high = (bound.to(own) for bound in input.detach().aminmax())
        found = torch.stack([low.clamp_max(0), high.clamp_min(0)])
        if self.quantising:
            own.lerp_(found, self._momentum)
        else:
            own.copy_(torch.stack([torch.minimum(own[0], found[0]), torch.maximum(own[1], found[1])]))


def quantised_twin(network: nn.Module, ranges: Ranges) -> nn.Module:
    """Return a network with the same parameters and buffers whose convolutions are fake-quantised.

    Args:
        network: left unchanged.
        ranges: of its convolutions, in the order of ``convolutions``.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, dict(shared))
    for index, module in enumerate(convolutions(twin)):
        module.forward = QuantisedForward(module, ranges, index)  # type: ignore[method-assign]
    return twin


def convolutions(network: nn.Module) -> list[Convolution]:
    """Return the 2-D convolutions of a network, in the order of its modules.

    Args:
        network: any.
    """
    return [module for module in network.modules() if isinstance(module, Convolution)]
