"""Deep supervision: a loss on the image after every block of an unrolled network, which fades out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd import (
    Batch,
    Features,
    Knowledge,
    Loss,
    Objective,
    ObjectiveContext,
    TapPairs,
    TeacherOutputs,
    TeacherRequest,
    UserError,
    WeightSchedule,
    eval_mode,
)

FADING = WeightSchedule(start=1.0, end=0.0, until=0.6)


class DeepSupervision(Objective):
    """The target's loss, and a loss on the image after every block, whose weight fades out over the stage.

    Formula: l(y_S, x) + w(e) * mean over k of d_k; d_k = l(image_S,k, x) for the target, mean |image_S,k - image_T,k|
    for the teacher; l the task's loss, w(e) the weight in epoch e. In epochs of weight 0 it is plain training.

    Paper: Lee et al., "Deeply-supervised nets", AISTATS 2015, arXiv:1409.5185; between the images of two unrolled
    networks none of its own.

    Needs: a network that unrolls, with at least two images between its blocks; for ``teacher`` both networks.

    Args:
        reference: ``target``, without a teacher, or ``teacher``, whose images are cached.
        images: (teacher path, student path) pairs of modules that return images, with ``*``; for ``target`` the
            student's paths count. Those registered for the models unless given.
        weight: a number, or ``{start, end, until}``.
    """

    def __init__(
        self,
        reference: Literal["target", "teacher"] = "target",
        images: TapPairs | None = None,
        weight: Annotated[float, Field(ge=0)] | WeightSchedule = FADING,
    ) -> None:
        super().__init__()
        self._of_target = reference == "target"
        self._wanted = images
        self._schedule = weight
        self._weight = weight.at(0, 1) if isinstance(weight, WeightSchedule) else weight

    @property
    def needs(self) -> frozenset[str]:
        """The teacher, if its images are the reference."""
        return frozenset() if self._of_target else frozenset({"teacher"})

    def setup(self, context: ObjectiveContext) -> None:
        """Find the images, and compare their shapes in one dry run.

        Raises:
            UserError: fewer than two images, or images of unequal shape.
        """
        super().setup(context)
        where = f"the stage {context.stage!r}, deep-supervision"
        self._paths = self._student_paths(where)
        if len(self._paths) < 2:
            raise UserError(
                f"{where}: expected a network with at least two images between its blocks, got {len(self._paths)}; "
                "state images, or train with the target alone"
            )
        with torch.no_grad(), eval_mode(context.network), context.observe(self._paths) as student:
            output = student(context.example)
            shapes = {tuple(image.shape) for image in student.features(self._paths, output).taps}
        if shapes != {tuple(output.shape)}:
            raise UserError(
                f"{where}: expected images of the output's shape {list(output.shape[1:])}, got "
                f"{', '.join(str(list(shape[1:])) for shape in sorted(shapes))}; tap modules that return images"
            )

    def _student_paths(self, where: str) -> list[str]:
        context = self.context
        if not self._of_target:
            pairs = context.choose_pairs(self._wanted, "images", where)
            self._teacher_paths = [left for left, _ in pairs]
            return [right for _, right in pairs]
        alone = None if self._wanted is None else [(right, right) for _, right in self._wanted]
        pairs = context.choose_built_pairs(context.network, context.side, alone, "images", where)
        return [right for _, right in pairs]

    def requests(self) -> Sequence[TeacherRequest]:
        """The teacher's images, if they are the reference."""
        if self._of_target or self._weight == 0:
            return ()
        return [
            TeacherRequest(
                "images",
                _images,
                tuple(self._teacher_paths),
                cacheable=True,
                identity="cascade images",
                code=type(self),
                uses_output=False,
            )
        ]

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Set the weight of the epoch."""
        if isinstance(self._schedule, WeightSchedule):
            self._weight = self._schedule.at(epoch, epochs)

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Return the target's loss plus the weighted mean over the images."""
        context = self.context
        with context.observe(self._paths if self._weight > 0 else ()) as student:
            output = student(batch)
            images = student.features(self._paths, output).taps if self._weight > 0 else []
        target = context.target_loss(output, batch)
        if not images:
            return Loss(target, {"target": target.detach()})
        losses = [self._distance(index, image, batch, teacher) for index, image in enumerate(images)]
        deep = torch.stack(losses).mean()
        return Loss(target + self._weight * deep, {"target": target.detach(), "deep": deep.detach()})

    def _distance(self, index: int, image: Tensor, batch: Batch, teacher: TeacherOutputs) -> Tensor:
        if self._of_target:
            return self.context.target_loss(image, batch)
        return F.l1_loss(image.float(), teacher["images"][str(index)].float())


def _images(teacher: Features, batch: Batch) -> Knowledge:
    return {str(index): image.detach() for index, image in enumerate(teacher.taps)}
