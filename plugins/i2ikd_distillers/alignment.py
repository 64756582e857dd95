"""Adapters on the student's side: a 1x1 convolution where channels differ, a resize where height or width do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import TapShapes
from i2ikd_distillers.convolution import Convolution


def resize(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Bring [B, C, H, W] to ``size`` (H', W'): by average pooling where it shrinks, bilinearly otherwise."""
    height, width = feature.shape[-2:]
    if (height, width) == tuple(size):
        return feature
    if size[0] <= height and size[1] <= width:
        return F.adaptive_avg_pool2d(feature, (size[0], size[1]))
    return F.interpolate(feature, size=(size[0], size[1]), mode="bilinear", align_corners=False)


def projection(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    """Return a 1x1 convolution; with equal channels it starts as the identity."""
    convolution = Convolution(inputs, outputs, bias=bias)
    if inputs == outputs:
        nn.init.dirac_(convolution.weight)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
    return convolution


def adapters(pairs: Sequence[TapShapes], always: bool = False, bias: bool = True) -> nn.ModuleList:
    """Return one adapter a pair, student's channels to teacher's; the identity where they agree unless ``always``."""
    return nn.ModuleList(
        projection(pair.student[0], pair.teacher[0], bias)
        if always or pair.student[0] != pair.teacher[0]
        else nn.Identity()
        for pair in pairs
    )


def aligned(adapter: nn.Module, feature: Tensor, size: Sequence[int]) -> Tensor:
    """Apply the adapter and the resize, whichever order has fewer pixels in the convolution (they commute)."""
    if feature.shape[-2] * feature.shape[-1] > size[0] * size[1]:
        return adapter(resize(feature, size))
    return resize(adapter(feature), size)
