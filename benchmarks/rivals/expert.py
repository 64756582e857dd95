"""An expert's loop: no gradients of the teacher, channels-last, autocast, fused Adam, prefetching, no waiting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain_loop import ALPHA, attention_map
from benchmarks.rivals.data import loader, moved
from benchmarks.rivals.network import cascades, hooked
from benchmarks.setting import Setting


class Step:
    """Losses of a batch.

    Args:
        setting: sizes, stage and precision.
    """

    def __init__(self, setting: Setting) -> None:
        self.teacher = cascades(setting, "teacher").eval().requires_grad_(False)
        self.student = cascades(setting, "student")
        self._setting = setting
        features = setting.stage == "features"
        self._wanted = hooked(self.teacher) if features else {}
        self._own = hooked(self.student) if features else {}

    def loss(self, arguments: dict[str, Tensor], target: Tensor) -> Tensor:
        """Return the loss of the stage, a scalar."""
        bf16 = self._setting.precision == "bf16"
        with torch.autocast(self._setting.device, torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                image = self.teacher(**arguments)
            output = self.student(**arguments)
        if self._setting.stage == "output":
            return ALPHA * F.l1_loss(output, target) + (1 - ALPHA) * F.l1_loss(output, image)
        return torch.stack([
            F.l1_loss(attention_map(own.float()), attention_map(wanted.float()))
            for own, wanted in zip(self._own.values(), self._wanted.values(), strict=True)
        ]).mean()  # fmt: skip


def optimiser(step: Step) -> torch.optim.Adam:
    """Return fused Adam of the student."""
    return torch.optim.Adam(step.student.parameters(), lr=1e-3, fused=True)


def train(setting: Setting, on_step: Callable[[Tensor], None]) -> None:
    """Train without end.

    Args:
        setting: sizes, stage and precision.
        on_step: receives the loss of every step, which is not waited for.
    """
    step = Step(setting)
    adam = optimiser(step)
    for item in loader(setting):
        loss = step.loss(*moved(item, setting.device))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        on_step(loss.detach())
