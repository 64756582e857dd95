"""Precision of networks: float32, or bfloat16 convolutions by autocast; losses and Fourier transforms are float32."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch
from torch import nn

from i2ikd.engine.device import bfloat16_instructions, training_format

Precision = Literal["fp32", "bf16"]


def resolve_precision(name: str, device: torch.device) -> Precision:
    """Return the precision of a run.

    Args:
        name: ``fp32``, ``bf16``, or ``auto``: the faster one on the device. On a CPU its instructions decide: a time
            measured on a busy machine would make the precision, and the weights, depend on other programs. A GPU is
            measured, once per process.
        device: of the run.
    """
    if name == "auto" and device.type == "cuda":
        return _faster_on_gpu()
    if name == "auto":
        return "bf16" if bfloat16_instructions() else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context manager for forward passes of networks.

    Args:
        device: of the networks.
        precision: ``bf16`` enables autocast to bfloat16.
    """
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@cache
def _faster_on_gpu() -> Precision:
    """Time a training step of a small convolution in both precisions; bfloat16 must be faster by a factor of 1.25.

    The margin outweighs its rounding.
    """
    device = torch.device("cuda")
    layer = nn.Conv2d(32, 32, 3, padding=1).to(device)
    layer.to(memory_format=training_format(device))
    image = torch.randn(2, 32, 96, 96, device=device).to(memory_format=training_format(device))
    seconds: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(6):
        for precision, times in seconds.items():
            start = time.perf_counter()
            with autocast(device, precision):
                output = layer(image)
            output.float().square().mean().backward()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    best = {precision: min(times[1:]) for precision, times in seconds.items()}
    return "bf16" if best["bf16"] * 1.25 < best["fp32"] else "fp32"
