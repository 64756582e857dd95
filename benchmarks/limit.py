"""The machine's limit: what a large matrix product and an isolated convolution reach in the same precision."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd.engine.device import keep_large_blocks

_TAPS = 9
_GEMM = 2048


def _dtype(setting: Setting) -> torch.dtype:
    return torch.bfloat16 if setting.precision == "bf16" else torch.float32


def _convolution(setting: Setting, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Return image, weight, bias, and the operations of one forward pass."""
    channels = setting.channels
    image = torch.randn(batch, channels, setting.size, setting.size).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last) * 0.05
    tensors = [tensor.to(setting.device, _dtype(setting)) for tensor in (image, weight, torch.zeros(channels))]
    return tensors[0], tensors[1], tensors[2], 2.0 * image.numel() * channels * _TAPS


def convolution(setting: Setting, turn: Turn) -> None:
    """Make a unit of the forward and backward pass of a 3x3 convolution, in channels-last memory."""
    keep_large_blocks()
    image, weight, bias, operations = _convolution(setting, setting.batch)
    leaves = [tensor.requires_grad_() for tensor in (image, weight, bias)]
    gradient = torch.randn_like(image)
    turn.note(operations=3 * operations)
    turn.begin()
    while True:
        torch.autograd.grad(F.conv2d(image, weight, bias, padding=1), leaves, gradient)
        turn.done()


@torch.inference_mode()
def convolution_forward(setting: Setting, turn: Turn) -> None:
    """Make a unit of the forward pass for one slice."""
    keep_large_blocks()
    image, weight, bias, operations = _convolution(setting, 1)
    turn.note(operations=operations)
    turn.begin()
    while True:
        F.conv2d(image, weight, bias, padding=1)
        turn.done()


@torch.inference_mode()
def gemm(setting: Setting, turn: Turn) -> None:
    """Make a unit of one product of two large square matrices."""
    left, right = (torch.randn(_GEMM, _GEMM, device=setting.device, dtype=_dtype(setting)) for _ in range(2))
    turn.note(operations=2.0 * _GEMM**3)
    turn.begin()
    while True:
        left @ right
        turn.done()
