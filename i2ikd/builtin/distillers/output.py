"""Losses on the output image: against the target, and against the teacher's image."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from i2ikd.distiller import Distiller, Features, Knowledge
from i2ikd.loss_precision import at_least_float32
from i2ikd.sample import Batch
from i2ikd.task import Task

PixelLoss = Literal["l1", "mse", "charbonnier"]


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(difference^2 + 1e-6): an L1 that is smooth at 0."""
    return torch.sqrt((output - target).square() + 1e-6).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": charbonnier,
}


class Target(Distiller):
    """The reconstruction loss rho(y_S - x): plain training, no teacher.

    Options:
        loss: ``task`` is the task's own training loss.
    """

    uses_taps: ClassVar[bool] = False
    uses_teacher: ClassVar[bool] = False

    def __init__(self, loss: Literal["task", "l1", "mse", "charbonnier"] = "task") -> None:
        super().__init__()
        self._loss = _LOSSES.get(loss, F.l1_loss)
        self._of_task = loss == "task"

    def attach(self, task: Task) -> None:
        """Take the task's own loss."""
        if self._of_task:
            self._loss = task.loss

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Nothing."""
        return {}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return rho(y_S - x)."""
        return self._loss(at_least_float32(student.image()), at_least_float32(batch.target))


class Imitation(Distiller):
    """The imitation loss rho(y_S - y_T), stage 2 of KD-MRI (arXiv:2004.05319).

    Deviation from the authors' code: for reconstruction their code divides the mean by the number of elements once
    more, which makes it a no-op; here it is the plain mean, as in their super-resolution code.

    Options:
        loss: rho.
    """

    uses_taps: ClassVar[bool] = False
    cacheable = True

    def __init__(self, loss: PixelLoss = "l1") -> None:
        super().__init__()
        self._loss = _LOSSES[loss]

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """The teacher's image [B, C, H, W]."""
        return {"image": at_least_float32(teacher.image().detach())}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Return rho(y_S - y_T)."""
        return self._loss(at_least_float32(student.image()), knowledge["image"])
