"""Channels of mean 0 and variance 1, samples of root mean square 1, with floors that no scale of features reaches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from i2ikd_distillers.normalise import FLOOR, RELATIVE_FLOOR, SQUARED_FLOOR, least


class _Standardised(torch.autograd.Function):
    """Its gradient takes one further map and a product; one map is saved."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, axes: tuple[int, ...]) -> Tensor:
        centred = feature - feature.mean(dim=axes, keepdim=True)
        centred -= centred.mean(dim=axes, keepdim=True)  # the residual of rounding a large mean
        variance = centred.square().mean(dim=axes, keepdim=True)
        floor = least(variance, axes=(1,), floor=SQUARED_FLOOR, share=RELATIVE_FLOOR**2)
        scale = torch.maximum(variance, floor).rsqrt()
        result = centred.mul_(scale)
        ctx.axes = axes
        ctx.save_for_backward(result, scale, variance > floor)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        result, scale, varies = ctx.saved_tensors
        along = (gradient * result).mean(dim=ctx.axes, keepdim=True) * varies
        found = gradient - gradient.mean(dim=ctx.axes, keepdim=True)
        return found.addcmul_(result, along, value=-1).mul_(scale), None


def standardised(feature: Tensor, per_sample: bool = False) -> Tensor:
    """Bring each channel of [B, C, H, W] to mean 0 and variance 1, over (B, H, W) or, per sample, over (H, W).

    Nothing is divided by a deviation below 1e-6, nor below a thousandth of the root mean square of the channels'
    deviations: the result is the same for features of every scale. Once differentiable.
    """
    result: Tensor = _Standardised.apply(feature, (2, 3) if per_sample else (0, 2, 3))
    return result


class _UnitRootMeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        root = feature.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        scale = root.clamp_min(FLOOR).reciprocal()
        result = feature * scale
        ctx.save_for_backward(result, scale, root > FLOOR)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        result, scale, alive = ctx.saved_tensors
        along = (gradient * result).mean(dim=(1, 2, 3), keepdim=True) * alive
        return torch.addcmul(gradient, result, along, value=-1).mul_(scale)


def unit_root_mean_square(feature: Tensor) -> Tensor:
    """Divide each sample of [B, C, H, W] by its root mean square, not below 1e-6. Once differentiable."""
    result: Tensor = _UnitRootMeanSquare.apply(feature)
    return result
