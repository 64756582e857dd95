"""The block that the networks for MRI are made of, and which block of a network is its middle one."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from i2ikd_mri.thin_convolution import ThinConvolution


def convolution_block(inputs: int, outputs: int, kernel: int = 3, activated: bool = True) -> nn.Sequential:
    """Return a convolution that keeps the size (zero padding), then a ReLU unless ``activated`` is false.

    The ReLU is not in place, so that a tap on ``convolution`` sees what went into ``activation``.
    """
    kind = ThinConvolution if ThinConvolution.pays(inputs, outputs) else nn.Conv2d
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["convolution"] = kind(inputs, outputs, kernel, padding=kernel // 2)
    if activated:
        parts["activation"] = nn.ReLU()
    return nn.Sequential(parts)


def middle(depth: int) -> int:
    """Return the index of the middle block, and never the last one, which gives an image and not features.

    >>> [middle(depth) for depth in (2, 3, 5, 7, 11)]
    [0, 1, 2, 3, 5]
    """
    return min(depth // 2, depth - 2)
