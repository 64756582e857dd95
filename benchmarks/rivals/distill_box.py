"""The same stages configured in torchdistill (Matsubara, arXiv:2011.12913), with the expert's networks and data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain_loop import ALPHA, attention_map
from benchmarks.rivals.data import loader, moved
from benchmarks.rivals.network import Cascades, cascades
from benchmarks.setting import Setting


class _Attention(nn.Module):
    """Term of the attention stage from the features that torchdistill's hooks kept."""

    def __init__(self, student: list[str], teacher: list[str]) -> None:
        super().__init__()
        self._pairs = list(zip(student, teacher, strict=True))

    def forward(self, student: dict[str, Any], teacher: dict[str, Any], target: Tensor) -> Tensor:
        losses = [
            F.l1_loss(attention_map(student[own]["output"].float()), attention_map(teacher[wanted]["output"].float()))
            for own, wanted in self._pairs
        ]
        return torch.stack(losses).mean()


def _image_term(target: dict[str, Any], weight: float) -> dict[str, Any]:
    wrapper = {"input": {"is_from_teacher": False, "module_path": ".", "io": "output"}, "target": target}
    return {
        "criterion": {"key": "L1Loss", "kwargs": {}},
        "criterion_wrapper": {"key": "SimpleLossWrapper", "kwargs": wrapper},
        "weight": weight,
    }


def _terms(setting: Setting, student: Cascades, teacher: Cascades) -> dict[str, Any]:
    if setting.stage == "features":
        return {"attention": {"criterion": _Attention(student.features, teacher.features), "weight": 1.0}}
    imitated = {"is_from_teacher": True, "module_path": ".", "io": "output"}
    return {"target": _image_term({"uses_label": True}, ALPHA), "imitation": _image_term(imitated, 1 - ALPHA)}


def train(setting: Setting, on_step: Callable[[Tensor], None]) -> None:
    """Train without end; see ``expert.train``."""
    from torchdistill.core.distillation import DistillationBox

    student, teacher = cascades(setting, "student"), cascades(setting, "teacher").eval()
    hooks: dict[str, list[str]] = {"student": [], "teacher": []}
    if setting.stage == "features":
        hooks = {"student": student.features, "teacher": teacher.features}
    forward = {"forward_proc": "forward_batch_only_as_kwargs"}
    configuration = {
        "num_epochs": 1,
        "teacher": {**forward, "requires_grad": False, "forward_hook": {"output": hooks["teacher"]}},
        "student": {**forward, "requires_grad": True, "forward_hook": {"output": hooks["student"]}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": _terms(setting, student, teacher)},
        },
        "optimizer": {"key": "Adam", "kwargs": {"lr": 1e-3, "fused": True}},
    }
    device = torch.device(setting.device)
    box = DistillationBox(teacher, student, {}, configuration, device, [], False, 1)
    box.pre_epoch_process(epoch=0)
    for item in loader(setting):
        arguments, target = moved(item, setting.device)
        box.pre_forward_process()
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.precision == "bf16"):
            loss = box.forward_process(arguments, target, None)
        box.post_forward_process(loss=loss)
        on_step(loss.detach())
