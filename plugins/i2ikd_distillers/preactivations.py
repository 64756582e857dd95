"""Distillers of pre-activations: a margin below zero, and the boundary at zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, Features, Knowledge, TapShapes, UserError
from i2ikd_distillers.alignment import adapters, aligned
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.reductions import mean_power

Role = Literal["features", "preactivations", "images"]


class Overhaul(PairedDistiller):
    """Squared error before the activation, blind to how far below zero a value is.

    Paper: Heo et al., "A Comprehensive Overhaul of Feature Distillation", arXiv:1904.01866.

    Formula: t' = max(t, m_c), m_c = mean of the negative pre-activations of channel c; mean of (s - t')^2 where
    s > t' or t > 0, and 0 at all other positions.

    Needs: pairs of taps before the activation (kind ``preactivations``), one 1x1 convolution a pair on the student's
    side (parameters), and ``prepare``, which measures m_c on the teacher. Works at batch 1.

    Differs from the authors' code: m_c is measured on data, theirs follows from batch normalisation, which these
    networks do not have; the mean, theirs is a sum in which a level counts half of the next deeper one; no batch
    normalisation in the adapter.
    """

    tap_kind: ClassVar[Role] = "preactivations"
    measured: Tensor

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters and the margins."""
        self.adapters = adapters(pairs, always=True)
        self.register_buffer("measured", torch.tensor(False))
        for index, pair in enumerate(pairs):
            self.register_buffer(f"margin{index}", torch.zeros(pair.teacher[0]))

    @torch.no_grad()
    def prepare(self, teacher: Iterable[tuple[Features, Batch]]) -> None:
        """Measure the mean negative pre-activation of every channel; 0 where there is none."""
        sums: dict[int, Tensor] = {}
        counts: dict[int, Tensor] = {}
        for features, _ in teacher:
            for index, tap in enumerate(features.taps):
                total = tap.double().clamp_max(0).sum(dim=(0, 2, 3))
                sums[index] = sums.get(index, 0) + total
                counts[index] = counts.get(index, 0) + (tap < 0).sum(dim=(0, 2, 3))
        if not sums:
            raise UserError("overhaul: there is no training batch to measure the margins on")
        for index, total in sums.items():
            self.get_buffer(f"margin{index}").copy_(total / counts[index].clamp_min(1))
        self.measured.fill_(True)

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the teacher's pre-activations."""
        if not self.measured:
            raise UserError("overhaul: the margins were not measured; call prepare with teacher features first")
        return super().knowledge(teacher, batch)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean partial squared error."""
        margin = self.get_buffer(f"margin{index}").view(1, -1, 1, 1)
        distance = aligned(self.adapters[index], student, knowledge.shape[-2:]) - torch.maximum(knowledge, margin)
        counts = (distance.detach() > 0) | (knowledge > 0)
        return mean_power(distance.mul_(counts), 2)


class ActivationBoundary(PairedDistiller):
    """On which side of zero each neuron is, by a margin.

    Paper: Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
    arXiv:1811.03233.

    Formula: mean of max(0, margin - s)^2 where t > 0 and max(0, margin + s)^2 otherwise.

    Needs: pairs of taps before the activation (kind ``preactivations``); one 1x1 convolution a pair on the student's
    side (parameters). Works at batch 1, knowledge is the sign of each value. Meant as a stage of its own that
    initialises the student: the loss does not vanish at student = teacher where the teacher is within the margin.

    Differs from the authors' code: the mean, theirs is a sum over the neurons in which a level counts half of the next
    deeper one; no batch normalisation in the adapter. The margin of 1 is theirs.

    Args:
        margin: mu, in units of the pre-activation.
    """

    tap_kind: ClassVar[Role] = "preactivations"

    def __init__(self, margin: Annotated[float, Field(gt=0)] = 1.0) -> None:
        super().__init__()
        self.margin = margin

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters."""
        self.adapters = adapters(pairs, always=True)

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return which values are above zero [B, C, H, W], boolean."""
        return teacher > 0

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean squared hinge."""
        adapted = aligned(self.adapters[index], student, knowledge.shape[-2:])
        wrong = torch.where(knowledge, -adapted, adapted)
        return mean_power(wrong.add_(self.margin).relu_(), 2)
