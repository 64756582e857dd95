"""Quantisation-aware distillation: the student is trained with the values of int8, towards the teacher's image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import (
    Batch,
    Features,
    Knowledge,
    Loss,
    Objective,
    ObjectiveContext,
    Student,
    TeacherOutputs,
    TeacherRequest,
    UserError,
)
from i2ikd_schemes.fake_quantisation import Ranges, convolutions, quantised_twin

Weight = Annotated[float, Field(ge=0)]


class QuantisationAware(Objective):
    """Training with convolutions whose weights and inputs have the values of int8, in float32 arithmetic.

    Formula: target * l(y_Q, x) + imitation * mean |y_Q - y_T|; y_Q the student with weights round(w / s) * s, one
    scale s = max |w| / 127 for each output channel, and inputs of convolutions rounded to 256 levels of their range.
    Gradients pass the rounding as if it were not there (straight-through), and are 0 for inputs outside of the range.

    The network that is saved has its float32 weights, whose int8 values are those of the training: the transform
    ``int8`` has the same rule. Its ranges of activations are those of calibration slices; in training they are moving
    averages of the batches' ranges, which start from those of the first batches. Files of OpenVINO compute as in
    training; ONNX Runtime rounds outputs of convolutions that no further convolution reads, too.

    Papers: Jacob et al., arXiv:1712.05877 (fake quantisation); Polino et al., arXiv:1802.05668 (quantised
    distillation).

    Args:
        target: weight of the task's loss.
        imitation: weight of the distance to the teacher's image.
        batches: first batches, in float32, that the ranges start from.
        momentum: share of each further batch in a range.
    """

    ranges: Tensor

    def __init__(
        self,
        target: Weight = 0.0,
        imitation: Weight = 1.0,
        batches: PositiveInt = 8,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        super().__init__()
        if target == imitation == 0:
            raise UserError("quantisation-aware: expected a target or an imitation weight above 0, got two of 0")
        self._target = target
        self._imitation = imitation
        self._batches = batches
        self._momentum = momentum

    @property
    def needs(self) -> frozenset[str]:
        """The teacher, unless its image has weight 0."""
        return frozenset({"teacher"}) if self._imitation > 0 else frozenset()

    def setup(self, context: ObjectiveContext) -> None:
        """Find the convolutions.

        Raises:
            UserError: the network has none.
        """
        super().setup(context)
        found = convolutions(context.network)
        if not found:
            raise UserError(
                f"the stage {context.stage!r}, quantisation-aware: expected a network with convolutions, got "
                f"{type(context.network).__name__} without any"
            )
        self.register_buffer("ranges", torch.zeros(len(found), 2, device=context.example.input.device))
        self._shared = Ranges(self.ranges, self._momentum)
        self._twins = [quantised_twin(context.network, self._shared)]  # a list: no submodule of this objective

    def prepare(self) -> None:
        """Measure the ranges that training starts from, in float32."""
        self._shared.quantising, self._shared.observing = False, True
        with torch.no_grad():
            for batch in self.context.first_batches(self._batches):
                self._student()(batch)
        self._shared.quantising, self._shared.observing = True, False

    def requests(self) -> Sequence[TeacherRequest]:
        """The teacher's image, unless its weight is 0."""
        if self._imitation == 0:
            return ()
        return [TeacherRequest("image", _image, (), True, "output image", type(self))]

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Return the loss of the quantised student; its ranges follow the batch."""
        self._shared.observing = True
        image = self._student()(batch).float()
        self._shared.observing = False
        parts: dict[str, Tensor] = {}
        if self._target > 0:
            parts["target"] = self.context.target_loss(image, batch)
        if self._imitation > 0:
            parts["imitation"] = F.l1_loss(image, teacher["image"]["image"].float())
        weights = {"target": self._target, "imitation": self._imitation}
        total = torch.stack([weights[name] * loss for name, loss in parts.items()]).sum()
        return Loss(total, {name: loss.detach() for name, loss in parts.items()})

    def _student(self) -> Student:
        """Return the quantised network, in the mode of the network being trained."""
        (twin,) = self._twins
        for own, module in zip(twin.modules(), self.context.network.modules(), strict=True):
            own.training = module.training
        return Student(twin, (), self.context.autocast)

    def eval_network(self) -> nn.Module:
        """Return the quantised network, which has the parameters of the trained one."""
        return self._twins[0]


def _image(teacher: Features, batch: Batch) -> Knowledge:
    assert teacher.output is not None
    return {"image": teacher.output.detach()}
