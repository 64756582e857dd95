"""The objective: the student's image against the target, the teacher's image and the assistant's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch.nn import functional as F

from i2ikd import Batch, Features, Knowledge, Loss, Objective, TeacherOutputs, TeacherRequest

Weight = Annotated[float, Field(ge=0)]
ROLES = ("teacher", "assistant")


class AssistedImitation(Objective):
    """Target, and imitation of two networks.

    Formula: alpha * l(y_S, x) + beta * mean |y_S - y_T| + gamma * mean |y_S - y_A|, l the task's loss, y_T and y_A the
    images of the frozen teacher and assistant.

    Paper: Mirzadeh et al., "Improved knowledge distillation via teacher assistant", AAAI 2020, arXiv:1902.03393.

    Deviation: the paper's assistant takes the teacher's place, which an arm with ``teacher = "..."`` does without a
    plugin; in this objective both teach.

    Args:
        alpha: weight of the target.
        beta: weight of the teacher's image.
        gamma: weight of the assistant's image.
    """

    def __init__(self, alpha: Weight = 0.5, beta: Weight = 0.25, gamma: Weight = 0.25) -> None:
        super().__init__()
        self._alpha = alpha
        self._weights = {"teacher": beta, "assistant": gamma}

    @property
    def needs(self) -> frozenset[str]:
        """Both input networks, also at weight 0: the runs that an arm depends on follow from its recipe alone."""
        return frozenset(ROLES)

    def requests(self) -> Sequence[TeacherRequest]:
        """The output image of each input network."""
        return [
            TeacherRequest(role, _image, cacheable=True, identity="image", code=type(self), network=role)
            for role in ROLES
        ]

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Return the weighted sum, and every part without its weight."""
        image = self.context.observe()(batch)
        target = self.context.target_loss(image, batch)
        total, parts = self._alpha * target, {"target": target.detach()}
        for role, weight in self._weights.items():
            distance = F.l1_loss(image.float(), teacher[role]["image"].float())
            total = total + weight * distance
            parts[role] = distance.detach()
        return Loss(total, parts)


def _image(network: Features, batch: Batch) -> Knowledge:
    return {"image": network.image().detach()}
