"""Knowledge review: each level of the student, fused with the deeper ones, must yield the teacher's level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import Batch, Features, Knowledge, TapShapes, at_least_float32, full_precision
from i2ikd_distillers.alignment import resize
from i2ikd_distillers.convolution import Convolution
from i2ikd_distillers.paired import PairedDistiller

STEP = 4
"""How many times longer the sides of the cells are from one level to the next."""

LEVELS = 3
"""Cells of side 4, 16, 64 are compared beside the pixels: 64 x 64, 16 x 16 and 4 x 4 of them in a 256 x 256 image."""


class Review(PairedDistiller):
    """Top-down fusion of the student's levels by attention, compared by a hierarchical squared error.

    Paper: Chen et al., "Distilling Knowledge via Knowledge Review", arXiv:2104.09044.

    Formula: from the last tap to the first, x_k = conv1x1(F_S,k); fused = a * x_k + b * fused of the level below
    (resized), (a, b) = sigmoid(conv1x1([x_k, fused])); y_k = conv3x3(fused);
    loss = mean over k of sum_l w_l mean (pool_l(y_k) - pool_l(F_T,k))^2 / sum_l w_l, pool_l = whole pixels, then means
    of cells of side 4, 16, 64, with w = 1, 1/2, 1/4, 1/8; cells larger than the image are left out.

    Needs: pairs of taps in the order of the network (the cascades of an unrolled one are the levels); the
    convolutions (parameters). Works at batch 1. The loss does not vanish at student = teacher before it is trained.

    Differs from the authors' code: cells of fixed side, theirs are 4, 2 and 1 along a side; the mean over the taps,
    theirs is a sum; resizing by averages or bilinearly, theirs takes the nearest pixel; no batch normalisation.

    Args:
        width: share of the teacher's channels that the fused feature has.
    """

    def __init__(self, width: Annotated[float, Field(gt=0, le=4)] = 0.5) -> None:
        super().__init__()
        self.width = width

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the convolutions; levels share one width, so that they can be fused."""
        width = max(1, round(self.width * max(pair.teacher[0] for pair in pairs)))
        self.entries = nn.ModuleList(Convolution(pair.student[0], width) for pair in pairs)
        self.exits = nn.ModuleList(Convolution(width, pair.teacher[0], kernel_size=3) for pair in pairs)
        self.attentions = nn.ModuleList(Convolution(2 * width, 2) for _ in pairs[1:])

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean over the levels."""
        losses = []
        fused: Tensor | None = None
        with full_precision(student.taps[0]):
            for index in reversed(range(len(student.taps))):
                entered = self.entries[index](at_least_float32(student.taps[index]))
                fused = entered if fused is None else self._fuse(index, entered, fused)
                losses.append(self.compare(index, fused, knowledge[f"map{index}"]))
            return torch.stack(losses).mean()

    def _fuse(self, index: int, entered: Tensor, deeper: Tensor) -> Tensor:
        deeper = resize(deeper, entered.shape[-2:])
        gates = self.attentions[index](torch.cat([entered, deeper], dim=1)).sigmoid()
        return entered * gates[:, :1] + deeper * gates[:, 1:]

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the hierarchical squared error of one fused level [B, width, H, W]."""
        return hierarchical_error(resize(self.exits[index](student), knowledge.shape[-2:]), knowledge)


def hierarchical_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the weighted mean of squared errors of pixels and of cells, [B, C, H, W] each."""
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for _ in range(LEVELS):
        if min(teacher.shape[-2:]) < STEP:
            break
        student, teacher = F.avg_pool2d(student, STEP), F.avg_pool2d(teacher, STEP)
        weight /= 2
        loss = loss + weight * F.mse_loss(student, teacher)
        total += weight
    return loss / total
