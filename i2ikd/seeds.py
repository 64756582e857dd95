"""Every random choice of a run is a function of its seed and of what it is for; no global state is carried along."""

from __future__ import annotations

import hashlib
from functools import cache

import torch


def derive(seed: int, *labels: object) -> int:
    """Return a 63-bit seed for one purpose.

    >>> derive(0, "order", 1) == derive(0, "order", 1)
    True
    >>> derive(0, "order", 1) == derive(0, "order", 2)
    False
    """
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seed_torch(seed: int, *labels: object) -> None:
    """Seed torch's generators for one purpose.

    ``torch.manual_seed`` does the same, but walks through the call stack for every kind of device that is not there,
    which costs more than a small step.
    """
    number = derive(seed, *labels)
    torch.default_generator.manual_seed(number)
    if _has_cuda():
        torch.cuda.manual_seed_all(number)


@cache
def _has_cuda() -> bool:
    return torch.cuda.is_available()
