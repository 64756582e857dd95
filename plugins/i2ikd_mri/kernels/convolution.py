"""The block that the networks for MRI are made of, and which block of a network is its middle one."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from i2ikd_mri.kernels.thin_convolution import ThinConvolution


class ConvolutionBlock(nn.Sequential):
    """A ``convolution``, then perhaps an ``activation`` (ReLU), in place unless one of the two is listened to.

    A hook on either gets tensors of their own, as from any ``nn.Sequential``; so a tap on ``convolution`` sees what
    went into ``activation``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return features [B, outputs, H, W] of ``input`` [B, inputs, H, W]."""
        plain = [type(part) for part in self][1:] == [nn.ReLU] and isinstance(self[0], nn.Conv2d)
        if plain and not any(has_hooks(part) for part in self):
            return torch.relu_(self[0](input))
        output: Tensor = super().forward(input)
        return output


def has_hooks(module: nn.Module) -> bool:
    """Whether any hook is on a module itself."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def convolution_block(inputs: int, outputs: int, kernel: int = 3, activated: bool = True) -> ConvolutionBlock:
    """Return a convolution that keeps the size (zero padding), then a ReLU unless ``activated`` is false."""
    kind = ThinConvolution if ThinConvolution.pays(inputs, outputs) else nn.Conv2d
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["convolution"] = kind(inputs, outputs, kernel, padding=kernel // 2)
    if activated:
        parts["activation"] = nn.ReLU()
    return ConvolutionBlock(parts)


def middle(depth: int) -> int:
    """Return the index of the middle block, and never the last one, which gives an image and not features.

    >>> [middle(depth) for depth in (2, 3, 5, 7, 11)]
    [0, 1, 2, 3, 5]
    """
    return min(depth // 2, depth - 2)


def first_and_last(large: int, small: int) -> list[tuple[int, int]]:
    """Pair the layers of two plain stacks of convolutions that can have equal shapes: the first ones, and the last.

    Args:
        large: convolutions of one stack.
        small: convolutions of the other; of n the shorter stack has, the first n - 1 are paired in order.

    >>> first_and_last(5, 3)
    [(0, 0), (1, 1), (4, 2)]
    """
    count = min(large, small) - 1
    return [*((index, index) for index in range(count)), (large - 1, small - 1)]
