"""Contrast of images: near the teacher's output, far from degraded inputs, in an embedding of early features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, TapShapes, UserError, at_least_float32, full_precision
from i2ikd_distillers.alignment import resize
from i2ikd_distillers.normalise import FLOOR
from i2ikd_distillers.paired import refuse_small_batch
from i2ikd_distillers.pretraining import central, fit


class Contrastive(Distiller):
    """Ratio of the student's distance from the teacher's image to its distance from degraded images.

    Papers: Wang et al., "Towards Compact Single Image Super-Resolution via Contrastive Self-distillation" (CSD),
    arXiv:2105.11683; Zhou et al., "Dynamic Contrastive Knowledge Distillation for Efficient Image Restoration"
    (DCKD), arXiv:2412.08939.

    Formula: d(phi(y_S), phi(y_T)) / sum over negatives d(phi(y_S), phi(neg)), mean over the batch; d = mean absolute
    difference; negatives = network inputs (zero-filled, upsampled), of other samples or of the sample itself.

    Needs: the output image, one pair of taps (an early one of the teacher; the student's is not used) and ``prepare``,
    which fits phi, two 3x3 convolutions, to predict the teacher's first tap from the input image through a 1x1
    convolution, and freezes it. With negatives of ``others`` it relates samples and needs ``count`` + 1 of them.
    Knowledge, the teacher's image, is cacheable.

    Differs from the papers: phi approximates the frozen teacher's early features and takes one channel, so that it
    applies to any image; CSD's code takes five layers of a VGG-19, DCKD's the features of a VQGAN, each layer with a
    weight. DCKD's negatives are images that an earlier state of the student makes from degraded inputs of the sample.
    Both divide a mean over the batch by another; here it is the mean of the samples' ratios. The sum over negatives
    has a floor of 1e-6 (a maximum, not an addition: above it the ratio is exact).

    Args:
        negatives: ``others``: inputs of batch mates; ``own``: the sample's own input.
        count: how many batch mates.
        width: channels of phi.
        steps: training steps of phi.
        learning_rate: of Adam, in those steps.
    """

    cacheable = True
    prepared: Tensor

    def __init__(
        self,
        negatives: Literal["others", "own"] = "others",
        count: Annotated[int, Field(ge=1, le=16)] = 1,
        width: Annotated[int, Field(ge=1)] = 16,
        steps: Annotated[int, Field(ge=1)] = 200,
        learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    ) -> None:
        super().__init__()
        self.negatives, self.count, self.width = negatives, count, width
        self.steps, self.learning_rate = steps, learning_rate
        self.relates_samples = negatives == "others"
        self.least_batch = count + 1 if negatives == "others" else 1

    def build(self, pairs: Sequence[TapShapes]) -> None:
        """Make phi.

        Raises:
            UserError: no pair of taps, or a tap that is not [C, H, W].
        """
        if not pairs or len(pairs[0].teacher) != 3:
            raise UserError("contrastive needs one pair of taps [C, H, W]: an early feature of the teacher for phi")
        self.embedding = nn.Sequential(
            nn.Conv2d(1, self.width, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.width, self.width, kernel_size=3, padding=1),
        )
        self.head = nn.Conv2d(self.width, pairs[0].teacher[0], kernel_size=1)
        self.embedding.requires_grad_(False)
        self.head.requires_grad_(False)
        self.register_buffer("prepared", torch.tensor(False))

    def prepare(self, teacher: Iterable[tuple[Features, Batch]]) -> None:
        """Fit phi to the teacher's first tap."""
        examples = []
        for features, batch in teacher:
            size = batch.input.shape[-2:]
            image = at_least_float32(batch.input).mean(dim=1, keepdim=True)
            examples.append((central(image), central(resize(at_least_float32(features.taps[0]), size))))
        if not examples:
            raise UserError("contrastive: there is no training batch to fit phi on")
        network = nn.Sequential(self.embedding, nn.ReLU(), self.head)
        with full_precision(examples[0][0]):
            fit(network, examples, lambda pair: F.mse_loss(network(pair[0]), pair[1]), self.steps, self.learning_rate)
        self.prepared.fill_(True)

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the teacher's image."""
        return {"image": at_least_float32(teacher.image().detach())}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return the mean ratio.

        Raises:
            UserError: phi was not fitted, too small a batch, or inputs that are no images of the output's kind.
        """
        if not self.prepared:
            raise UserError("contrastive: phi was not fitted; call prepare with teacher features first")
        refuse_small_batch(self, len(batch))
        image = student.image()
        if batch.input.shape[1] != image.shape[1]:
            raise UserError(
                f"contrastive: inputs have {batch.input.shape[1]} channels and outputs {image.shape[1]}: an input "
                "cannot serve as a degraded output"
            )
        with full_precision(image):
            own = self._embed(at_least_float32(image))
            near = _distance(own, self._embed(knowledge["image"]))
            inputs = resize(at_least_float32(batch.input), image.shape[-2:])
            shifts = range(1, self.count + 1) if self.negatives == "others" else (0,)
            far = [_distance(own, self._embed(inputs.roll(shift, dims=0))) for shift in shifts]
            return (near / torch.stack(far).sum(dim=0).clamp_min(FLOOR)).mean()

    def _embed(self, image: Tensor) -> Tensor:
        """Return phi of every channel on its own, [B, C, width, H, W]."""
        return self.embedding(image.flatten(0, 1).unsqueeze(1)).unflatten(0, image.shape[:2])


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().flatten(1).mean(dim=1)
