"""Count the floating-point operations of convolutions with ``torch.utils.flop_counter``."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.setting import Setting

_SIDE = 16


def _input() -> dict[str, torch.Tensor]:
    image = torch.rand(1, 1, _SIDE, _SIDE)
    return {"input": image, "kspace": torch.fft.fft2(image, norm="ortho"), "mask": torch.ones(1, 1, _SIDE, 1)}


def training_operations(network: nn.Module, setting: Setting) -> float:
    """Return the operations of the forward and backward convolutions of one step, without recomputation."""
    for module in network.modules():
        module.register_forward_hook(lambda *_: None)  # hooked features are not checkpointed
    with FlopCounterMode(display=False) as counter:
        network(**_input()).abs().mean().backward()
    network.zero_grad()
    return counter.get_total_flops() * setting.batch * (setting.size / _SIDE) ** 2


@torch.no_grad()
def inference_operations(network: nn.Module, setting: Setting) -> float:
    """Return the operations of the convolutions for one slice."""
    with FlopCounterMode(display=False) as counter:
        network(**_input())
    return counter.get_total_flops() * (setting.size / _SIDE) ** 2
