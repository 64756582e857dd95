"""Means over feature maps whose gradients take one further map, where autograd's own formulas take two to four.

Sums are torch's ``sum``, which adds in pairs and is right to a few units of the last place of float32 over 30 million
values. ``torch.linalg.vector_norm`` adds one by one, and loses up to a third of such a sum.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from i2ikd import full_precision
from i2ikd_distillers.products import inner, mix


class _MeanPower(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, power: int) -> Tensor:
        ctx.save_for_backward(values)
        ctx.power = power
        powers = values.abs() if power == 1 else values.square()
        return (powers.square_() if power == 4 else powers).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        scale = gradient * ctx.power / values.numel()
        if ctx.power == 1:
            return values.sign().mul_(scale), None
        if ctx.power == 2:
            return values * scale, None
        return values.square().mul_(values).mul_(scale), None


def mean_power(values: Tensor, power: Literal[1, 2, 4]) -> Tensor:
    """Return the mean of |values|^power, a scalar; once differentiable.

    >>> mean_power(torch.tensor([1.0, -3.0]), 2)
    tensor(5.)
    """
    mean: Tensor = _MeanPower.apply(values, power)
    return mean


class _AffinityDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, other: Tensor) -> Tensor:
        grams = inner(own, own), inner(own, other), inner(other, other)
        ctx.save_for_backward(own, other, grams[0], grams[1])
        energies = [matrix.square().sum(dim=(1, 2)) for matrix in grams]
        return (energies[0] - 2 * energies[1] + energies[2]) / own.shape[-1] ** 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own, other, matrix, crossed = ctx.saved_tensors
        scale = 4 * gradient.view(-1, 1, 1) / own.shape[-1] ** 2
        with full_precision(own):
            return mix([(scale * matrix, own), (-scale * crossed, other)]), None


def affinity_distance(own: Tensor, other: Tensor) -> Tensor:
    """Return ||own^T own - other^T other||_F^2 / N^2 of each sample, [B], float64, from matrices of channels alone.

    Args:
        own: [B, C, N], gets the gradient.
        other: [B, C', N], gets none.
    """
    distance: Tensor = _AffinityDistance.apply(own, other)
    return distance
