"""Small modules that are fitted to the teacher before a stage, then frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from i2ikd import at_least_float32

Example = TypeVar("Example")

PATCH = 64
"""Side of the central crop of a feature, so that many batches fit in memory."""


def central(feature: Tensor) -> Tensor:
    """Return a copy of the central ``PATCH`` x ``PATCH`` pixels (or fewer) of [B, C, H, W], float32.

    The centre, because the border of a medical image is mostly air.
    """
    height, width = feature.shape[-2:]
    top, left = max(0, (height - PATCH) // 2), max(0, (width - PATCH) // 2)
    return at_least_float32(feature[..., top : top + PATCH, left : left + PATCH].detach()).clone()


def fit(
    module: nn.Module,
    examples: Sequence[Example],
    loss: Callable[[Example], Tensor],
    steps: int,
    learning_rate: float,
) -> None:
    """Minimise ``loss`` over the examples, in turn, with Adam; the module is frozen afterwards."""
    module.requires_grad_(True)
    optimiser = torch.optim.Adam(module.parameters(), lr=learning_rate)
    with torch.enable_grad():
        for step in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss(examples[step % len(examples)]).backward()
            optimiser.step()
    module.requires_grad_(False)
    optimiser.zero_grad(set_to_none=True)
