"""Measure the limit of the machine: a large matrix product and an isolated convolution in the same precision."""

from __future__ import annotations

import time
from collections.abc import Callable

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
    """Return image, weight, bias, and the floating-point operations of one forward pass."""
    channels = setting.channels
    image = torch.randn(batch, channels, setting.size, setting.size)
    weight = torch.randn(channels, channels, 3, 3) * 0.05
    tensors = [tensor.to(setting.device, _dtype(setting)) for tensor in (image, weight, torch.zeros(channels))]
    return tensors[0], tensors[1], tensors[2], 2.0 * image.numel() * channels * _TAPS


def convolution(setting: Setting, turn: Turn) -> None:
    """Measure a 3x3 convolution; one unit is its forward and backward pass, in the faster memory format."""
    keep_large_blocks()
    image, weight, bias, operations = _convolution(setting, setting.batch)

    def unit(memory_format: torch.memory_format) -> Callable[[], object]:
        leaves = [tensor.requires_grad_() for tensor in (*_to_memory_format([image, weight], memory_format), bias)]
        gradient = torch.randn_like(leaves[0])
        return lambda: torch.autograd.grad(F.conv2d(*leaves, padding=1), leaves, gradient)

    turn.note(operations=3 * operations)
    _work(unit, turn)


@torch.inference_mode()
def convolution_forward(setting: Setting, turn: Turn) -> None:
    """Measure a 3x3 convolution; one unit is the forward pass for one slice."""
    keep_large_blocks()
    image, weight, bias, operations = _convolution(setting, 1)

    def unit(memory_format: torch.memory_format) -> Callable[[], object]:
        tensors = _to_memory_format([image, weight], memory_format)
        return lambda: F.conv2d(*tensors, bias, padding=1)

    turn.note(operations=operations)
    _work(unit, turn)


def _to_memory_format(tensors: list[torch.Tensor], memory_format: torch.memory_format) -> list[torch.Tensor]:
    return [tensor.detach().clone(memory_format=memory_format) for tensor in tensors]


def _work(unit: Callable[[torch.memory_format], Callable[[], object]], turn: Turn) -> None:
    """Repeat units in the faster of two memory formats, so that the limit does not depend on the format."""
    candidates = [unit(torch.contiguous_format), unit(torch.channels_last)]
    work = min(candidates, key=_seconds)
    turn.begin()
    while True:
        work()
        turn.done()


def _seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


@torch.inference_mode()
def gemm(setting: Setting, turn: Turn) -> None:
    """Measure a matrix product; one unit multiplies two large square matrices."""
    left, right = (torch.randn(_GEMM, _GEMM, device=setting.device, dtype=_dtype(setting)) for _ in range(2))
    turn.note(operations=2.0 * _GEMM**3)
    turn.begin()
    while True:
        left @ right
        turn.done()
