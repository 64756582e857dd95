"""Masked generation: the student's feature must suffice to make up the teacher's where half of it is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import TapShapes
from i2ikd_distillers.alignment import adapters, aligned
from i2ikd_distillers.convolution import Convolution
from i2ikd_distillers.paired import PairedDistiller


class MaskedGeneration(PairedDistiller):
    """Regenerate the teacher's feature from the student's with random pixels masked (MGD).

    Paper: Yang et al., "Masked Generative Distillation", arXiv:2205.01529.

    Formula: mean (g(M * r(F_S)) - F_T)^2; M = 0 at a random share of the pixels, g = 3x3 convolution, ReLU, 3x3
    convolution, r = 1x1 convolution where channels differ.

    Needs: pairs of taps; g and r (parameters). Works at batch 1. The mask is drawn from torch's random state in every
    forward pass; the loss does not vanish at student = teacher.

    Differs from the authors' code: the mean, theirs is a sum divided by the batch. They mask pixels for dense
    prediction, as here, and channels for classification.

    Args:
        masked: share of the pixels that is masked.
    """

    def __init__(self, masked: Annotated[float, Field(ge=0, lt=1)] = 0.5) -> None:
        super().__init__()
        self.masked = masked

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make the adapters and the generators."""
        self.adapters = adapters(pairs)
        self.generators = nn.ModuleList(_generator(pair.teacher[0]) for pair in pairs)

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean squared error of the regenerated feature."""
        adapted = aligned(self.adapters[index], student, knowledge.shape[-2:])
        unmasked = torch.rand_like(adapted[:, :1], dtype=torch.float32) >= self.masked
        return F.mse_loss(self.generators[index](adapted * unmasked), knowledge)


def _generator(channels: int) -> nn.Sequential:
    return nn.Sequential(
        Convolution(channels, channels, kernel_size=3),
        nn.ReLU(inplace=True),
        Convolution(channels, channels, kernel_size=3),
    )
