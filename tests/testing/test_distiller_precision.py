"""``check_distiller_precision`` passes a loss that is right in float32, and names the fault of one that is not."""

from __future__ import annotations

import pytest
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, Distiller, Features, Knowledge, at_least_float32
from i2ikd.testing import check_distiller_precision

pytestmark = pytest.mark.numeric


class MeanSquares(Distiller):
    """Mean squared error of the first tap."""

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        return {"map0": at_least_float32(teacher.taps[0].detach())}

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(student, teacher)

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        return self.measure(at_least_float32(student.taps[0]), knowledge["map0"])


class RoundsItsGradient(MeanSquares):
    """The value of the mean squared error; the gradient of differences that are rounded to 1e-3 in float32."""

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        difference = student - teacher
        rounded = ((difference + 1e4) - 1e4).detach()
        term = (2 * difference * rounded).mean()
        return difference.detach().square().mean() + term - term.detach()


class Cancels(MeanSquares):
    """The squared distance of the energies, from their squares."""

    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        own, other = student.square().mean(), teacher.square().mean()
        return own.square() - 2 * own * other + other.square()


class OneMinusSimilarity(MeanSquares):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(student.flatten(1), teacher.flatten(1)).mean() + 1e-4


class AlwaysFloat32(MeanSquares):
    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        return F.mse_loss(student.taps[0].float(), knowledge["map0"].float())


class AbsoluteFloor(MeanSquares):
    def measure(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.mse_loss(*(F.batch_norm(side, None, None, training=True, eps=1e-6) for side in (student, teacher)))


def test_a_loss_that_is_right_in_float32_passes() -> None:
    check_distiller_precision(MeanSquares)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (RoundsItsGradient, "expected a gradient in float32 within 0.001 of float64"),
        (Cancels, "expected a loss in float32 within 0.001 of float64"),
        (OneMinusSimilarity, "of an independent student's loss"),
        (AlwaysFloat32, "convert features by i2ikd.at_least_float32"),
        (AbsoluteFloor, "expected one loss for features of every scale"),
    ],
)
def test_a_loss_that_is_wrong_in_float32_is_named_with_the_remedy(wrong: type[Distiller], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_distiller_precision(wrong, sizes=((256, 256),), scale_free=True)
