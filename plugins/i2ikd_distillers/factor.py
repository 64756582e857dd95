"""Factor transfer: the teacher's feature paraphrased by an autoencoder, translated from the student's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import Batch, Features, Knowledge, TapShapes, UserError, full_precision
from i2ikd_distillers.alignment import resize
from i2ikd_distillers.convolution import Convolution
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.pretraining import central, fit
from i2ikd_distillers.reductions import mean_power
from i2ikd_distillers.standardise import unit_root_mean_square


class Factor(PairedDistiller):
    """Factors of the teacher's feature, found without supervision, that the student's translator must return.

    Paper: Kim et al., "Paraphrasing Complex Network: Network Compression via Factor Transfer", arXiv:1802.04977.

    Formula: mean |u(translator(F_S)) - u(paraphraser(F_T))|, u(v) = v divided by its root mean square, per
    sample, not below 1e-6.

    Needs: pairs of taps; a translator a pair (parameters) and ``prepare``, which trains a paraphraser a pair as an
    autoencoder of the teacher's features (mean squared error, Adam, the random state of the caller) and freezes it.
    Works at batch 1.

    Differs from the authors' code: u divides by the root mean square, where they divide by the length and then take a
    mean, which makes the loss shrink with the image's side. The first layer leads to k channels, theirs keeps those of
    its input; no rectifier after the last layer; the decoder's convolutions are not transposed; the paraphraser is
    trained on the squared error, theirs on the absolute one.

    Args:
        rate: k, the number of factors as a share of the teacher's channels.
        steps: training steps of the paraphrasers.
        learning_rate: of Adam, in those steps.
    """

    def __init__(
        self,
        rate: Annotated[float, Field(gt=0, le=2)] = 0.5,
        steps: Annotated[int, Field(ge=1)] = 200,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__()
        self.rate, self.steps, self.learning_rate = rate, steps, learning_rate

    prepared: Tensor

    def size_for(self, pairs: Sequence[TapShapes]) -> None:
        """Make paraphrasers, their decoders and the translators."""
        factors = [max(1, round(self.rate * pair.teacher[0])) for pair in pairs]
        self.paraphrasers = nn.ModuleList(_stack(pair.teacher[0], k, k) for pair, k in zip(pairs, factors))
        self.decoders = nn.ModuleList(_stack(k, k, pair.teacher[0]) for pair, k in zip(pairs, factors))
        self.translators = nn.ModuleList(_stack(pair.student[0], k, k) for pair, k in zip(pairs, factors))
        self.paraphrasers.requires_grad_(False)
        self.decoders.requires_grad_(False)
        self.register_buffer("prepared", torch.tensor(False))

    def prepare(self, teacher: Iterable[tuple[Features, Batch]]) -> None:
        """Train the paraphrasers."""
        examples = [[central(tap) for tap in features.taps] for features, _ in teacher]
        if not examples:
            raise UserError("factor: there is no training batch to train the paraphrasers on")
        with full_precision(examples[0][0]):
            for index, (paraphraser, decoder) in enumerate(zip(self.paraphrasers, self.decoders)):
                features = [example[index] for example in examples]
                self._train(nn.Sequential(paraphraser, decoder), features)
        self.prepared.fill_(True)

    def _train(self, autoencoder: nn.Module, features: Sequence[Tensor]) -> None:
        def error(feature: Tensor) -> Tensor:
            return F.mse_loss(autoencoder(feature), feature)

        fit(autoencoder, features, error, self.steps, self.learning_rate)

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the factors."""
        if not self.prepared:
            raise UserError("factor: the paraphrasers were not trained; call prepare with teacher features first")
        return super().knowledge(teacher, batch)

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the normalised factors [B, k, H, W]."""
        return unit_root_mean_square(self.paraphrasers[index](teacher))

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the mean absolute difference of the factors."""
        translated = self.translators[index](resize(student, knowledge.shape[-2:]))
        return mean_power(unit_root_mean_square(translated) - knowledge, 1)


def _stack(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return three 3x3 convolutions with leaky rectifiers between them."""
    return nn.Sequential(
        Convolution(inputs, hidden, kernel_size=3),
        nn.LeakyReLU(0.1, inplace=True),
        Convolution(hidden, hidden, kernel_size=3),
        nn.LeakyReLU(0.1, inplace=True),
        Convolution(hidden, outputs, kernel_size=3),
    )
