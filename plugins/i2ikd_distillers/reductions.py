"""Means over feature maps whose gradients take one further map, where autograd's own formulas take two to four."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from i2ikd_distillers.precision import full_precision


class _MeanPower(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, power: int) -> Tensor:
        ctx.save_for_backward(values)
        ctx.power = power
        return torch.linalg.vector_norm(values, ord=power) ** power / values.numel()

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
        grams = own @ own.mT, own @ other.mT, other @ other.mT
        ctx.save_for_backward(own, other, grams[0], grams[1])
        energies = [gram.square().sum(dim=(1, 2)) for gram in grams]
        return (energies[0] - 2 * energies[1] + energies[2]) / own.shape[-1] ** 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own, other, gram, crossed = ctx.saved_tensors
        scale = 4 * gradient.view(-1, 1, 1) / own.shape[-1] ** 2
        with full_precision(own):
            return (scale * gram).bmm(own).baddbmm_(scale * crossed, other, alpha=-1), None


def affinity_distance(own: Tensor, other: Tensor) -> Tensor:
    """Return ||own^T own - other^T other||_F^2 / N^2 of each sample, [B], from matrices of channels alone.

    Args:
        own: [B, C, N], gets the gradient.
        other: [B, C', N], gets none.
    """
    distance: Tensor = _AffinityDistance.apply(own, other)
    return distance
