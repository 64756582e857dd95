"""Teacher and student features of random networks, and one distiller built and run on them: ground of the checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from i2ikd.distiller import Distiller, Features, Knowledge, TapShapes
from i2ikd.sample import Batch, SampleKey

SEED = 20
"""Every random draw of the checks starts here; a distiller that draws does so from this state too."""


class Loss(NamedTuple):
    """A loss with the gradients of everything that could get one."""

    value: Tensor
    student: Features
    taps: list[Tensor | None]
    output: Tensor | None
    parameters: list[Tensor | None]


@dataclass(frozen=True)
class Situation:
    """Shapes of the features and images of a check.

    Attributes:
        channels: of the teacher's and of the student's taps.
        sizes: [H, W] of the teacher's and of the student's taps.
        batch: number of samples.
        pairs: number of pairs of taps.
        image: channels of input, target and output images, which have the teacher's size.
    """

    channels: tuple[int, int] = (6, 4)
    sizes: tuple[tuple[int, int], tuple[int, int]] = ((16, 12), (16, 12))
    batch: int = 4
    pairs: int = 2
    image: int = 1
    seed: int = 1

    @property
    def shapes(self) -> list[TapShapes]:
        """Shapes of the pairs of taps, the argument of ``Distiller.build``."""
        (teacher, student), (teacher_size, student_size) = self.channels, self.sizes
        return [TapShapes((teacher, *teacher_size), (student, *student_size))] * self.pairs

    def features(self, tap_kind: Literal["features", "preactivations", "images"]) -> tuple[Features, Features, Batch]:
        """Draw teacher and student features and the batch they belong to.

        Features are not negative, pre-activations are of both signs, images are in [0, 1].
        """
        generator = torch.Generator().manual_seed(self.seed)

        def draw(channels: int, size: tuple[int, int], kind: str) -> Tensor:
            if kind == "images":
                return torch.rand(self.batch, channels, *size, generator=generator)
            values = torch.randn(self.batch, channels, *size, generator=generator)
            return values if kind == "preactivations" else values.relu()

        sides = [
            Features(
                taps=[draw(channels, size, tap_kind) for _ in range(self.pairs)],
                output=draw(self.image, self.sizes[0], "images"),
            )
            for channels, size in zip(self.channels, self.sizes)
        ]
        keys = [SampleKey(volume="volume", index=index) for index in range(self.batch)]
        batch = Batch(
            input=draw(self.image, self.sizes[0], "images"),
            target=draw(self.image, self.sizes[0], "images"),
            keys=keys,
        )
        return sides[0], sides[1], batch


@dataclass
class Case:
    """A distiller that was built for a situation and prepared on its teacher."""

    factory: Callable[[], Distiller]
    situation: Situation
    distiller: Distiller = field(init=False)
    teacher: Features = field(init=False)
    student: Features = field(init=False)
    batch: Batch = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(SEED)
        self.distiller = self.factory()
        self.distiller.build(self.situation.shapes)
        self.teacher, self.student, self.batch = self.situation.features(self.distiller.tap_kind)
        self.distiller.prepare([(self.teacher, self.batch)])

    def run(self, teacher: Features, student: Features, batch: Batch | None = None) -> Loss:
        """Return loss and gradients for the given features, which are left as they are."""
        batch = batch or self.batch
        student = leaves(student)
        torch.manual_seed(SEED)
        knowledge = self.distiller.knowledge(teacher, batch)
        return self.backward(student, knowledge, batch)

    def backward(self, student: Features, knowledge: Knowledge, batch: Batch) -> Loss:
        """Return loss and gradients; ``student`` holds leaves."""
        self.distiller.zero_grad(set_to_none=True)
        value = total(self.distiller(student, knowledge, batch))
        assert value.ndim == 0, f"the loss must be a scalar, not of shape {list(value.shape)}"
        assert value.requires_grad, "the loss has no gradient: nothing in it depends on the student"
        value.backward()
        output = student.output
        return Loss(
            value.detach(),
            student,
            [tap.grad for tap in student.taps],
            output.grad if output is not None else None,
            [parameter.grad for parameter in self.distiller.parameters() if parameter.requires_grad],
        )


def total(value: Tensor | dict[str, Tensor]) -> Tensor:
    """Return the loss to be minimised from a distiller's return value."""
    if isinstance(value, dict):
        assert "loss" in value, f"a dict of parts needs the key 'loss'; it has {sorted(value)}"
        return value["loss"]
    return value


def mapped(features: Features, function: Callable[[Tensor], Tensor]) -> Features:
    """Apply a function to taps and output."""
    output = None if features.output is None else function(features.output)
    return Features(taps=[function(tap) for tap in features.taps], output=output)


def leaves(features: Features) -> Features:
    """Return detached copies that collect gradients."""
    return mapped(features, lambda tensor: tensor.detach().clone().requires_grad_(True))
