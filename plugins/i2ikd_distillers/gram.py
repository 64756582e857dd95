"""Distillers of Gram matrices: flow between taps, neuron selectivity, spatial affinity, channel similarity."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, TapShapes, UserError, at_least_float32, full_precision
from i2ikd_distillers.alignment import adapters, aligned, resize
from i2ikd_distillers.normalise import root_diagonal, unit_pixels, unit_rows
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.products import correlation, gram
from i2ikd_distillers.reductions import affinity_distance


class Flow(Distiller):
    """How one tap of a network leads to the next: their Gram matrix, the flow of the solution procedure (FSP).

    Paper: Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer
    Learning", CVPR 2017.

    Formula: G = F1 F2^T / N of consecutive taps F1, F2 of one network; mean (G_S - G_T)^2, mean over the flows.

    Needs: at least two pairs of taps, in the order of the network; a 1x1 convolution on the student's side where
    channels differ (parameters). Where two taps of a network differ in size, the larger is pooled; the teacher's and
    the student's sizes need not agree. Works at batch 1, knowledge [B, C1, C2] is cacheable.

    Differs from the paper: the mean over the entries of G, where it has their sum, and the adapters. Of the common
    re-implementations, torchdistill pools by the maximum; RepDistiller by the mean, as here, but expands the product
    (1 GiB, where a batched one takes 16 KiB).
    """

    cacheable = True
    uses_output = False

    def build(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters.

        Raises:
            UserError: fewer than two pairs, or taps that are not [C, H, W].
        """
        if len(pairs) < 2:
            raise UserError(f"fsp relates consecutive taps of a network: it needs at least 2 pairs, not {len(pairs)}")
        for pair in pairs:
            if len(pair.teacher) != 3 or len(pair.student) != 3:
                raise UserError(f"fsp needs taps of shape [C, H, W], not {list(pair.teacher)}, {list(pair.student)}")
        self.adapters = adapters(pairs)

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the Gram matrix of every flow."""
        with torch.no_grad(), full_precision(teacher.taps[0]):
            taps = [at_least_float32(tap.detach()) for tap in teacher.taps]
            return {f"flow{i}": _flow(first, second) for i, (first, second) in enumerate(pairwise(taps))}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean over the flows."""
        with full_precision(student.taps[0]):
            taps = [adapter(at_least_float32(tap)) for adapter, tap in zip(self.adapters, student.taps)]
            flows = [_flow(first, second) for first, second in pairwise(taps)]
            losses = [F.mse_loss(flow, knowledge[f"flow{i}"]) for i, flow in enumerate(flows)]
            return torch.stack(losses).mean()


def _flow(first: Tensor, second: Tensor) -> Tensor:
    """Return [B, C1, C2], the mean over the pixels of the products of channels."""
    size = [min(a, b) for a, b in zip(first.shape[-2:], second.shape[-2:])]
    first, second = resize(first, size).flatten(2), resize(second, size).flatten(2)
    return correlation(first, second).to(first.dtype)


class NeuronSelectivity(PairedDistiller):
    """The set of channels as samples of a distribution over pixels, compared by maximum mean discrepancy.

    Paper: Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", arXiv:1707.01219.

    Formula: a = each channel divided by its length over the pixels, k(a, b) = (a.b)^2;
    mean k(a_T, a_T') + mean k(a_S, a_S') - 2 mean k(a_S, a_T), which with C channels each is the squared Frobenius
    distance of the two N x N pixel affinities divided by C^2, from three C x C matrices.

    Needs: pairs of taps; channels need not agree; unequal sizes are resized on the student's side. No parameters;
    works at batch 1.

    Differs from the authors' code: they leave out k(a_T, a_T'), which no student changes, and take (a.b + c)^2 with c
    as an option; a length has a floor of 1e-3 of the root-mean-square one, theirs of 1e-10 under the root.
    """

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the discrepancy, mean over the batch."""
        teacher = knowledge.flatten(2)
        rows = resize(student, knowledge.shape[-2:]).flatten(2)
        own, other = gram(rows), gram(teacher)
        norm, other_norm = root_diagonal(own), root_diagonal(other)
        crossed = correlation(rows, teacher)
        return (
            (other / (other_norm.unsqueeze(2) * other_norm.unsqueeze(1))).square().mean()
            + (own / (norm.unsqueeze(2) * norm.unsqueeze(1))).square().mean()
            - 2 * (crossed / (norm.unsqueeze(2) * other_norm.unsqueeze(1))).square().mean()
        )


class Affinity(PairedDistiller):
    """Which pixels resemble which: the matrix of cosines between all pixels, N x N.

    Paper: He et al., "FAKD: Feature-Affinity Based Knowledge Distillation for Efficient Image Super-Resolution",
    ICIP 2020, doi:10.1109/ICIP40778.2020.9190917.

    Formula: A = X^T X, X = the feature with each pixel's channels divided by their length;
    ``frobenius``: ||A_T - A_S||_F^2 / N^2, exactly at full resolution from three C x C matrices;
    ``l1``: mean |A_T - A_S|, the authors' norm, on features pooled to at most ``size`` x ``size``.

    Needs: pairs of taps; channels need not agree; unequal sizes are resized on the student's side. No parameters;
    works at batch 1.

    Differs from the authors' code: its L1 norm at full resolution (65536^2 entries at 256x256) is offered pooled only;
    ``frobenius`` is an addition.

    Args:
        norm: ``frobenius`` or ``l1``.
        size: side of the pooled feature of ``l1``.
    """

    def __init__(
        self, norm: Literal["frobenius", "l1"] = "frobenius", size: Annotated[int, Field(ge=2, le=64)] = 32
    ) -> None:
        super().__init__()
        self.norm = norm
        self.size = size
        self.cacheable = norm == "l1"

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the feature, pooled for ``l1``."""
        if self.norm == "frobenius":
            return teacher
        return resize(teacher, [min(self.size, side) for side in teacher.shape[-2:]])

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the distance of the affinities, mean over the batch."""
        own, other = resize(student, knowledge.shape[-2:]), knowledge
        if self.norm == "l1":  # pooled, and the sign of a small difference is the gradient: float64
            own, other = own.double(), other.double()
        own, other = unit_pixels(own).flatten(2), unit_pixels(other).flatten(2)
        if self.norm == "l1":
            return F.l1_loss(torch.bmm(own.mT, own), torch.bmm(other.mT, other))
        return affinity_distance(own, other).mean()


class ChannelSimilarity(PairedDistiller):
    """Which channels resemble which: the C x C Gram matrix with rows of length one.

    Paper: Liu et al., "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation" (ICKD),
    ICCV 2021, arXiv:2202.03680.

    Formula: G = F F^T with each row divided by its length; mean (G_S - G_T)^2.

    Needs: pairs of taps; a 1x1 convolution on the student's side where channels differ (parameters); sizes need not
    agree. Works at batch 1, knowledge [B, C, C] is cacheable.

    Differs from the authors' code: the mean over C x C, where they multiply it by C; no batch normalisation after the
    adapter, and no adapter where channels agree.
    """

    cacheable = True

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters."""
        self.adapters = adapters(pairs)

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the row-normalised Gram matrix [B, C, C]."""
        return unit_rows(gram(teacher.flatten(2))).to(teacher.dtype)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean squared difference."""
        adapted = aligned(self.adapters[index], student, student.shape[-2:])
        return F.mse_loss(self.describe(index, adapted), knowledge)
