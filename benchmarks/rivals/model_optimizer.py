"""The same stages by ``modelopt.torch.distill.convert`` of NVIDIA Model Optimizer, with the expert's networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from benchmarks.plain_loop import ALPHA, attention_map
from benchmarks.rivals.data import loader, moved
from benchmarks.rivals.network import cascades
from benchmarks.setting import Setting


class _Attention(_Loss):
    """Term of one pair of features."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return F.l1_loss(attention_map(student.float()), attention_map(teacher.float()))


def train(setting: Setting, on_step: Callable[[Tensor], None]) -> None:
    """Train without end; see ``expert.train``."""
    import modelopt.torch.distill as mtd

    student, teacher = cascades(setting, "student"), cascades(setting, "teacher")
    features = setting.stage == "features"
    pairs = list(zip(student.features, teacher.features, strict=True))
    criterion = {pair: _Attention() for pair in pairs} if features else torch.nn.L1Loss()
    weights = [1 / len(pairs)] * len(pairs) if features else 1 - ALPHA
    balancer = mtd.StaticLossBalancer(weights)
    configuration = {"teacher_model": teacher, "criterion": criterion, "loss_balancer": balancer}
    converted = mtd.convert(student, mode=[("kd_loss", configuration)])
    adam = torch.optim.Adam([p for p in converted.parameters() if p.requires_grad], lr=1e-3, fused=True)
    for item in loader(setting):
        arguments, target = moved(item, setting.device)
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.precision == "bf16"):
            output = converted(**arguments)
        loss = converted.compute_kd_loss(student_loss=None if features else F.l1_loss(output, target))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        on_step(loss.detach())
