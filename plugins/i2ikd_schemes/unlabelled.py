"""Imitation of the teacher on unlabelled samples, beside training on labelled ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from i2ikd import (
    Batch,
    BoundedCache,
    Features,
    Knowledge,
    Loss,
    Objective,
    ObjectiveContext,
    Sample,
    TeacherOutputs,
    TeacherRequest,
    UserError,
    WeightSchedule,
)

Weight = Annotated[float, Field(ge=0)]
_CACHE_MIB = 512
SPLIT = "unlabelled"
"""Split of a task whose samples are used without their targets."""


class UnlabelledImitation(Objective):
    """Every step has a batch of labelled samples and one of unlabelled samples, on which the student imitates.

    Formula: target * l(y_S, x) + imitation * mean |y_S - y_T| + weight * mean |y_S(u) - y_T(u)|; l the task's loss, x
    the targets of the labelled batch, u unlabelled inputs, drawn at random with replacement in every step.

    Paper: for soft labels Hinton et al., arXiv:1503.02531; on unlabelled data Bucilua et al., "Model compression", KDD
    2006.

    Needs: a task with samples in the split ``unlabelled`` (``task.unlabelled`` of the MRI tasks). Other arms, the
    control among them, see nothing of them, and the number of optimiser steps is that of plain training: a step costs a
    second forward and backward pass of the student, and each unlabelled sample one pass of the teacher.

    Args:
        target: weight of the task's loss.
        imitation: weight of the imitation on labelled samples.
        weight: of the imitation on unlabelled samples: a number, or ``{start, end, until}``.
        batch: unlabelled samples per step, of each process; as many as labelled ones unless given.
    """

    def __init__(
        self,
        target: Weight = 1.0,
        imitation: Weight = 0.0,
        weight: Weight | WeightSchedule = 1.0,
        batch: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self._target, self._imitation, self._schedule, self._size = target, imitation, weight, batch
        self._weight = weight.at(0, 1) if isinstance(weight, WeightSchedule) else weight
        self._cache: BoundedCache[Tensor] = BoundedCache(_CACHE_MIB, policy="refuse")

    def setup(self, context: ObjectiveContext) -> None:
        """Open the unlabelled samples.

        Raises:
            UserError: there are none, they are of another shape, or a subject is in another split too.
        """
        super().setup(context)
        where = f"the stage {context.stage!r}, unlabelled-imitation"
        self._samples = context.task.dataset(SPLIT)
        if len(self._samples) == 0:
            raise UserError(f"{where}: the split {SPLIT!r} has no slices")
        subjects = {key.subject for key in self._samples.keys}
        for split in ("val", "test"):
            shared = sorted(subjects & {key.subject for key in context.task.dataset(split).keys})
            if shared:
                raise UserError(
                    f"{where}: expected unlabelled subjects that are in no other split, got {shared[0]!r}, which is in "
                    f"{split!r} too; remove it, or set repeated_names = 'distinct' if it is another subject"
                )
        if len(sizes := sorted(set(self._samples.shapes or ()))) > 1:
            raise UserError(f"{where}: expected unlabelled samples of one size, got {', '.join(sizes)}; set size")
        shape, expected = self._samples[0].input.shape, context.example.input.shape[1:]
        if shape != expected:
            raise UserError(
                f"{where}: expected unlabelled inputs of the shape {list(expected)}, got {list(shape)}; set one size"
            )

    def requests(self) -> Sequence[TeacherRequest]:
        """The teacher's image of labelled samples, if it is imitated."""
        if self._imitation == 0:
            return ()
        return [TeacherRequest("image", _image, (), True, "image", type(self))]

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Set the weight of the epoch."""
        if isinstance(self._schedule, WeightSchedule):
            self._weight = self._schedule.at(epoch, epochs)

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Run the student on both batches."""
        parts: dict[str, Tensor] = {}
        with self.context.observe() as student:
            if self._target > 0 or self._imitation > 0:
                output = student(batch)
                parts["target"] = self.context.target_loss(output, batch)
                if self._imitation > 0:
                    parts["imitation"] = F.l1_loss(output.float(), teacher["image"]["image"].float())
            if self._weight > 0:
                indices = torch.randint(len(self._samples), (self._size or len(batch),)).tolist()
                unlabelled, reference = self._drawn(indices, batch.input.device)
                parts["unlabelled"] = F.l1_loss(student(unlabelled).float(), reference)
        weights = {"target": self._target, "imitation": self._imitation, "unlabelled": self._weight}
        total = torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()
        return Loss(total, {name: loss.detach() for name, loss in parts.items()})

    def _drawn(self, indices: Sequence[int], device: torch.device) -> tuple[Batch, Tensor]:
        """Return unlabelled samples, and the teacher's image of each, which is computed alone and kept."""
        samples = [self._samples[index] for index in indices]
        samples = [Sample(each.input, None, each.conditions, each.key) for each in samples]
        references = []
        for index, sample in zip(indices, samples):
            image = self._cache.get(index)
            if image is None:
                with self.context.observe_input("teacher") as teacher:
                    image = teacher(Batch.collate([sample]).to(device)).float()
                self._cache.put(index, image, image.numel() * image.element_size())
            references.append(image)
        return Batch.collate(samples).to(device), torch.cat(references)


def _image(teacher: Features, batch: Batch) -> Knowledge:
    return {"image": teacher.image().detach()}
