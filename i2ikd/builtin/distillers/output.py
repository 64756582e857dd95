"""Losses on the output image, against the target or the teacher's output."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from i2ikd.distiller import Distiller, Features, Knowledge
from i2ikd.sample import Batch
from i2ikd.task import Task

PixelLoss = Literal["l1", "mse", "charbonnier"]


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Compute the Charbonnier loss, mean of sqrt((output - target)^2 + 1e-6), an L1 loss that is smooth at 0.

    Source: Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553.

    Args:
        output: any shape.
        target: of the same shape.

    Returns:
        A scalar.
    """
    return torch.sqrt((output - target).square() + 1e-6).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "charbonnier": charbonnier,
}


class Target(Distiller):
    """Reconstruction loss rho(y_S - x) of the student's output y_S against the target x, without a teacher.

    Options:
        loss: rho; ``task`` selects the task's training loss.
    """

    uses_taps: ClassVar[bool] = False
    uses_teacher: ClassVar[bool] = False
    uses_target: ClassVar[bool] = True

    def __init__(self, loss: Literal["task", "l1", "mse", "charbonnier"] = "task") -> None:
        super().__init__()
        self._loss = _LOSSES.get(loss, F.l1_loss)
        self._of_task = loss == "task"

    def attach(self, task: Task) -> None:
        """Use the task's training loss if ``loss`` is ``task``.

        Args:
            task: the task of the experiment.
        """
        if self._of_task:
            self._loss = task.loss

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return no knowledge.

        Args:
            teacher: unused.
            batch: unused.
        """
        return {}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Compute rho(y_S - x).

        Args:
            student: the student's output [B, C, H, W].
            knowledge: unused.
            batch: its target [B, C, H, W].

        Returns:
            A scalar.
        """
        return self._loss(student.image().float(), batch.target.float())


class Imitation(Distiller):
    """Imitation loss rho(y_S - y_T) of the student's output y_S against the teacher's y_T (KD-MRI, arXiv:2004.05319).

    Deviation from the authors' code: for reconstruction, their code divides the mean a second time by the number of
    elements, which makes the term negligible. Here it is the mean, as in their super-resolution code.

    Options:
        loss: rho.
    """

    uses_taps: ClassVar[bool] = False
    cacheable = True

    def __init__(self, loss: PixelLoss = "l1") -> None:
        super().__init__()
        self._loss = _LOSSES[loss]

    def knowledge(self, teacher: Features, batch: Batch) -> Knowledge:
        """Return the teacher's output image.

        Args:
            teacher: the teacher's output.
            batch: unused.

        Returns:
            ``image`` [B, C, H, W] float32.
        """
        return {"image": teacher.image().detach().float()}

    def forward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Tensor:
        """Compute rho(y_S - y_T).

        Args:
            student: the student's output [B, C, H, W].
            knowledge: ``image`` [B, C, H, W].
            batch: unused.

        Returns:
            A scalar.
        """
        return self._loss(student.image().float(), knowledge["image"])
