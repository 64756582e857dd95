"""Products of rows over millions of pixels, accumulated in float64 block by block; a feature map is never copied.

A relation (a Gram matrix, a correlation) is small, and losses are differences of such relations: in float32 the
rounding is what is left of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from i2ikd import full_precision

BLOCKS = 16
"""A block is at least this small a part of a feature map, so that its float64 copy takes little memory."""

LEAST_BLOCK = 1 << 14
"""Values in a block, unless the map has fewer."""


def inner(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner products [..., R, S] of rows [..., R, D] and [..., S, D], in float64."""
    total = first.new_zeros(*first.shape[:-1], second.shape[-2], dtype=torch.float64)
    for part in _blocks(first if first.numel() > second.numel() else second):
        total += first[..., part].double() @ second[..., part].double().mT
    return total


def mix(terms: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the sum of matrix [..., R, S] times rows [..., S, D] over the terms, in the format of the rows.

    The sum is rounded once, so that terms may cancel each other.
    """
    matrix, rows = terms[0]
    result = rows.new_empty(*matrix.shape[:-1], rows.shape[-1])
    for part in _blocks(rows):
        result[..., part] = sum(matrix.double() @ rows[..., part].double() for matrix, rows in terms)
    return result


def _blocks(rows: Tensor) -> Iterator[slice]:
    """Yield the parts of the last axis of [..., R, D]."""
    length = rows.shape[-1]
    height = max(1, rows.numel() // max(1, length))
    step = max(1, LEAST_BLOCK // height, -(-length // BLOCKS))
    for start in range(0, length, step):
        yield slice(start, start + step)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        return inner(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        first, second = ctx.saved_tensors
        with full_precision(first):
            return (
                mix([(gradient, second)]) if ctx.needs_input_grad[0] else None,
                mix([(gradient.mT, first)]) if ctx.needs_input_grad[1] else None,
            )


class _Gram(torch.autograd.Function):
    """``x x^T``. Autograd would build the gradient from two products, each of the size of ``x``; one is enough."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return inner(rows, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        with full_precision(rows):
            return mix([(gradient + gradient.mT, rows)])


def gram(rows: Tensor) -> Tensor:
    """Return the Gram matrix [..., R, R] of row vectors [..., R, D], divided by D, in float64; once differentiable."""
    product: Tensor = _Gram.apply(rows)
    return product / rows.shape[-1]


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner products [..., R, S] of rows [..., R, D] and [..., S, D], divided by D; float64, as ``gram``."""
    product: Tensor = _Product.apply(first, second)
    return product / first.shape[-1]
