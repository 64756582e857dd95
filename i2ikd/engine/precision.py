"""Convolutions in bfloat16 where asked; losses and Fourier transforms stay in float32."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch
from torch import nn

from i2ikd.engine.device import avx2_alone, training_format

Precision = Literal["fp32", "bf16"]


def resolve_precision(wanted: str, device: torch.device) -> Precision:
    """Turn ``auto`` into what is faster here, by one measurement; others are taken as they are."""
    if wanted == "auto":
        return _faster(device.type)
    return "bf16" if wanted == "bf16" else "fp32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context that networks run in."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


@cache
def _faster(device_type: str) -> Precision:
    """Time a training step of a small convolution in both; bfloat16 must win by a quarter to be worth its rounding.

    A CPU with AVX2 alone has no instructions for it, so there is nothing to measure.
    """
    device = torch.device(device_type)
    if avx2_alone(device):
        return "fp32"
    layer = nn.Conv2d(32, 32, 3, padding=1).to(device)
    layer.to(memory_format=training_format(device))
    image = torch.randn(2, 32, 96, 96, device=device).to(memory_format=training_format(device))
    seconds: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(6):
        for precision, taken in seconds.items():
            start = time.perf_counter()
            with autocast(device, precision):
                output = layer(image)
            output.float().square().mean().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
    best = {precision: min(taken[1:]) for precision, taken in seconds.items()}
    return "bf16" if best["bf16"] * 1.25 < best["fp32"] else "fp32"
