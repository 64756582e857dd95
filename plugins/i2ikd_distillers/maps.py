"""Distillers of maps: statistics over the channels, softmax over the pixels, standardised channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd import TapShapes
from i2ikd_distillers.alignment import adapters, aligned, resize
from i2ikd_distillers.divergence import softmax_divergence
from i2ikd_distillers.normalise import SQUARED_FLOOR
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.standardise import standardised


class Statistics(PairedDistiller):
    """Maps of the channels' mean, maximum, minimum and standard deviation, compared by mean squared error.

    Paper: Gao et al., "Image Super-Resolution Using Knowledge Distillation" (SRKD), ACCV 2018.

    Formula: mean over the four statistics of mean (stat_S - stat_T)^2, stat in mean_c, max_c, min_c, std_c.

    Needs: pairs of taps; channels need not agree; maps of unequal size are resized on the student's side. No
    parameters; works at batch 1, knowledge [B, 4, H, W] is cacheable.

    Differs from the paper: it compares maps of one kind, and tries four kinds (a power of the channels' mean, the mean
    of their powers, maximum, minimum); here four go together, of which the standard deviation is an addition (with
    1e-12 added to its square) and the mean is not raised to a power.
    """

    cacheable = True

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the four maps [B, 4, H, W]."""
        deviation = (teacher.var(dim=1, correction=0) + SQUARED_FLOOR).sqrt()
        return torch.stack([teacher.mean(dim=1), teacher.amax(dim=1), teacher.amin(dim=1), deviation], dim=1)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean squared difference of the maps."""
        return F.mse_loss(resize(self.describe(index, student), knowledge.shape[-2:]), knowledge)


class ChannelWise(PairedDistiller):
    """Each channel as a distribution over the pixels, compared by Kullback-Leibler divergence.

    Paper: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", arXiv:2011.13256.

    Formula: tau^2 / C * sum_c KL(softmax(F_T,c / tau) || softmax(F_S,c / tau)), mean over the batch.

    Needs: pairs of taps; a 1x1 convolution on the student's side where channels differ (parameters). Works at batch 1.

    Differs from the authors' code: not in the loss, a mean over batch and channels there, too. It is computed as
    tau^2 log1p(sum p expm1(e - m)), e = (F_S - F_T) / tau, p = softmax(F_T / tau), m = sum p e, which is the same
    number and vanishes term by term at student = teacher. Their options have
    temperature 1 by default.

    Args:
        temperature: tau.
    """

    def __init__(self, temperature: Annotated[float, Field(gt=0)] = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters; a bias would vanish in the softmax."""
        self.adapters = adapters(pairs, bias=False)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the divergence of the teacher's feature from the student's."""
        adapted = aligned(self.adapters[index], student, knowledge.shape[-2:])
        divergence = softmax_divergence(adapted.flatten(2), knowledge.flatten(2), self.temperature)
        return self.temperature**2 * divergence.mean()


class Pearson(PairedDistiller):
    """Mean squared error of standardised channels, which is one minus Pearson's correlation.

    Paper: Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient", arXiv:2207.02039.

    Formula: 1/2 mean (z_S - z_T)^2, z = each channel with mean 0 and variance 1 over (B, H, W).

    Needs: pairs of taps; a 1x1 convolution on the student's side where channels differ (parameters). With ``scope =
    "batch"`` it relates samples through the batch's statistics; it works at batch 1.

    Differs from the authors' code: the population variance, with a floor of 1e-6 of the channels' mean variance (and
    of 1e-12), where they add 1e-6 to the sample deviation. The loss is the same for features of every scale.

    Args:
        scope: what a channel is standardised over: ``batch`` (B, H, W) as in the paper, or ``sample`` (H, W).
    """

    def __init__(self, scope: Literal["batch", "sample"] = "batch") -> None:
        super().__init__()
        self.scope = scope
        self.relates_samples = scope == "batch"

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters; a bias would vanish in the standardisation."""
        self.adapters = adapters(pairs, bias=False)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return half the mean squared difference."""
        per_sample = self.scope == "sample"
        adapted = aligned(self.adapters[index], student, knowledge.shape[-2:])
        return F.mse_loss(standardised(adapted, per_sample), standardised(knowledge, per_sample)) / 2
