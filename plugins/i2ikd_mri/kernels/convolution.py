"""Convolution block of the MRI networks, and which layers of two stacks of blocks correspond."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from i2ikd_mri.kernels.thin_convolution import ThinConvolution


class ConvolutionBlock(nn.Sequential):
    """Sequence of a ``convolution`` and an optional ``activation`` (ReLU).

    The ReLU runs in place unless one of the two modules has hooks. A hook on either module receives an unmodified
    tensor, as in any ``nn.Sequential``: a tap on ``convolution`` captures the input of ``activation``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map ``input`` [B, inputs, H, W] to features [B, outputs, H, W]."""
        plain = [type(part) for part in self][1:] == [nn.ReLU] and isinstance(self[0], nn.Conv2d)
        if plain and not any(has_hooks(part) for part in self):
            return torch.relu_(self[0](input))
        output: Tensor = super().forward(input)
        return output


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has forward, pre-forward or backward hooks.

    Args:
        module: the module; hooks of its submodules do not count.
    """
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def convolution_block(inputs: int, outputs: int, kernel: int = 3, activated: bool = True) -> ConvolutionBlock:
    """Build a convolution that preserves the size (zero padding), followed by a ReLU.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: side of the kernel in pixels, odd.
        activated: whether the ReLU is present.

    Returns:
        The block; its convolution is a ``ThinConvolution`` where that is faster on a CPU.
    """
    kind = ThinConvolution if ThinConvolution.pays(inputs, outputs) else nn.Conv2d
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["convolution"] = kind(inputs, outputs, kernel, padding=kernel // 2)
    if activated:
        parts["activation"] = nn.ReLU()
    return ConvolutionBlock(parts)


def middle(depth: int) -> int:
    """Return the index of the middle of ``depth`` blocks; never the last one, whose output is an image.

    Args:
        depth: number of blocks, at least 2.

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


def spread(count: int, length: int) -> list[int]:
    """Select evenly spaced indices, the last one always included.

    Args:
        count: number of indices, 1..length.
        length: number of positions.

    Returns:
        ``count`` increasing indices in 0..length - 1.

    >>> spread(3, 5)
    [1, 2, 4]
    """
    return [((i + 1) * length + count // 2) // count - 1 for i in range(count)]


def groups(large: int, small: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pair groups of consecutive layers of two stacks: at least two layers of the shorter one, spread evenly.

    Args:
        large: layers of one stack.
        small: layers of the other.

    Returns:
        (first, last) of a group of the one and of the other.

    >>> groups(11, 7)
    [((0, 3), (0, 1)), ((4, 6), (2, 4)), ((7, 10), (5, 6))]
    """
    count = max(1, min(large, small) // 2)
    ranges = []
    for length in (large, small):
        ends = spread(count, length)
        ranges.append(list(zip([0, *(end + 1 for end in ends[:-1])], ends)))
    return list(zip(*ranges))


def grouped_layers(large: int, small: int) -> list[tuple[int, int]]:
    """Pair layers that can have equal shapes, group by group: a group of the one starts as a group of the other.

    Args:
        large: layers of one stack.
        small: layers of the other.

    >>> grouped_layers(11, 7)
    [(0, 0), (3, 1), (4, 2), (5, 3), (6, 4), (7, 5), (10, 6)]
    """
    return [
        (first + i, other + j)
        for (first, last), (other, end) in groups(large, small)
        for i, j in first_and_last(last - first + 1, end - other + 1)
    ]
