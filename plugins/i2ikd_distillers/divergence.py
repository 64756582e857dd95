"""Kullback-Leibler divergence of softmax distributions over pixels, without a difference of large sums."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LARGEST_EXPONENT = 80.0
"""exp of it is finite in float32."""


class _SoftmaxDivergence(torch.autograd.Function):
    """With e = (student - teacher) / tau, p = softmax(teacher / tau), m = sum p e: log1p(sum p expm1(e - m)).

    Cross entropy minus entropy is the same number, as a difference of two that are close to log N.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        probability = (teacher - teacher.amax(dim=-1, keepdim=True)).div_(temperature).exp_()
        probability /= probability.sum(dim=-1, keepdim=True)
        excess = (student - teacher).div_(temperature)
        excess -= (probability * excess).sum(dim=-1, keepdim=True)
        left = (probability * excess).sum(dim=-1, keepdim=True)  # 0 but for rounding
        shift = (excess.amax(dim=-1, keepdim=True) - LARGEST_EXPONENT).clamp_min(0)
        weighted = excess.sub_(shift).expm1_().mul_(probability)
        moment = weighted.sum(dim=-1, keepdim=True) - left
        ctx.temperature = temperature
        ctx.save_for_backward(probability, weighted, moment)
        return (shift + moment.log1p()).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        probability, weighted, moment = ctx.saved_tensors
        difference = torch.addcmul(weighted, probability, moment, value=-1)
        return difference.mul_(gradient.unsqueeze(-1) / (ctx.temperature * (1 + moment))), None, None


def softmax_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(teacher / temperature) || softmax(student / temperature)) over the last axis.

    Once differentiable.

    Args:
        student: logits [..., N], gets the gradient.
        teacher: logits [..., N], gets none.
        temperature: above 0.

    Returns:
        [...], not negative but for rounding.
    """
    divergence: Tensor = _SoftmaxDivergence.apply(student, teacher, temperature)
    return divergence
