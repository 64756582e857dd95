"""Distillers that regress the teacher's feature from the student's: hints, variational information, log-sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import TapShapes
from i2ikd_distillers.alignment import adapters, aligned, resize
from i2ikd_distillers.convolution import Convolution
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.reductions import mean_power
from i2ikd_distillers.standardise import standardised


class FitNet(PairedDistiller):
    """The teacher's feature as a hint that the student's must yield through a 1x1 convolution.

    Paper: Romero et al., "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550.

    Formula: mean (r(F_S) - F_T)^2, r = 1x1 convolution, resized where height or width differ.

    Needs: pairs of taps; one adapter a pair (parameters), the identity at the start where channels agree. Works at
    batch 1. Use it as a stage of its own before the output stage, as in the paper, or beside other terms.

    Differs from the authors' code: r is 1x1, theirs has the kernel that matches the two sizes; no factor 1/2.
    """

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters."""
        self.adapters = adapters(pairs, always=True)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean squared error."""
        return F.mse_loss(aligned(self.adapters[index], student, knowledge.shape[-2:]), knowledge)


class VariationalInformation(PairedDistiller):
    """A lower bound of the mutual information of the two features: regression with a learnt uncertainty (VID).

    Papers: Ahn et al., "Variational Information Distillation for Knowledge Transfer", arXiv:1904.05835; per pixel and
    Laplace: Lee et al., "Learning with Privileged Information for Efficient Image Super-Resolution" (PISR),
    arXiv:2007.07524.

    Formula: ``gauss``: 1/2 mean [(mu(F_S) - F_T)^2 / s^2 + log s^2], s^2 = softplus(rho) + 1e-5;
    ``laplace``: mean [|mu(F_S) - F_T| / b + log b], b = softplus(rho) + 1e-5.

    Needs: pairs of taps; mu = 1x1 convolution and rho = one number a channel, or a map computed by a 1x1 convolution
    (parameters). Works at batch 1. The loss may be negative.

    Differs from the authors' code: mu is one convolution, where VID has three with ReLU between them (as RepDistiller
    has it from its authors) and PISR two with PReLU; the map of ``scale = "pixel"`` comes from one convolution, PISR's
    from two; it is shared by the channels, in PISR's settings it is not; it starts uniform.

    Args:
        scale: whether the uncertainty belongs to a ``channel`` or to a ``pixel``.
        distribution: ``gauss`` or ``laplace``.
    """

    floor = 1e-5
    start = 5.0
    """Uncertainty before the first step, as in VID's code."""

    def __init__(
        self,
        scale: Literal["channel", "pixel"] = "channel",
        distribution: Literal["gauss", "laplace"] = "gauss",
    ) -> None:
        super().__init__()
        self.scale = scale
        self.distribution = distribution

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make mu and rho."""
        self.adapters = adapters(pairs, always=True)
        rho = math.log(math.expm1(self.start - self.floor))
        if self.scale == "channel":
            self.channel_scales = nn.ParameterList(nn.Parameter(torch.full((pair.teacher[0],), rho)) for pair in pairs)
            return
        self.pixel_scales = nn.ModuleList(Convolution(pair.student[0], 1) for pair in pairs)
        for convolution in self.pixel_scales:
            assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
            nn.init.zeros_(convolution.weight)
            nn.init.constant_(convolution.bias, rho)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the negative log-likelihood without its constant."""
        size = knowledge.shape[-2:]
        mean = aligned(self.adapters[index], student, size)
        axes = (0, 2, 3) if self.scale == "channel" else (1,)
        measure = F.mse_loss if self.distribution == "gauss" else F.l1_loss
        total = measure(mean, knowledge, reduction="none").sum(dim=axes)
        error = total * (total.numel() / knowledge.numel())
        if self.scale == "channel":
            rho = self.channel_scales[index]
        else:
            rho = resize(self.pixel_scales[index](student), size).squeeze(1)
        scale = F.softplus(rho) + self.floor
        loss = (error / scale + scale.log()).mean()
        return loss / 2 if self.distribution == "gauss" else loss


class LogSum(PairedDistiller):
    """The logarithm of a high power of the distance between standardised features (SRD).

    Paper: Miles and Mikolajczyk, "Understanding the Role of the Projector in Knowledge Distillation",
    arXiv:2303.11098.

    Formula: log mean |z(P F_S) - z(F_T)|^p, z = each channel standardised over (B, H, W), P = 1x1 convolution.

    Needs: pairs of taps; P (parameters, no bias: standardisation removes it). Relates samples through the batch's
    statistics; works at batch 1. The loss may be negative.

    Differs from the authors' code: they average a feature over the image first and standardise over the batch alone;
    the mean instead of the sum, which changes the loss by a constant and makes it independent of the image size; the
    mean has 1e-6 added (in units of standardised features), and a variance has a floor of 1e-6 of the channels' mean
    variance (and of 1e-12), so that the loss is the same for features of every scale.

    Args:
        power: p.
    """

    relates_samples = True

    def __init__(self, power: Literal[2, 4] = 4) -> None:
        super().__init__()
        self.power = power

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the projectors."""
        self.adapters = adapters(pairs, always=True, bias=False)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the logarithm."""
        adapted = aligned(self.adapters[index], student, knowledge.shape[-2:])
        distance = standardised(knowledge).neg_().add_(standardised(adapted))
        return (mean_power(distance, self.power) + 1e-6).log()
