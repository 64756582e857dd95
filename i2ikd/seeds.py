"""Seeds by purpose: every random draw of a run depends on the run's seed and the purpose alone, not on global state."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from functools import cache

import torch


def derive(seed: int, *labels: object) -> int:
    """Return a 63-bit seed for one purpose: the leading bits of the SHA-256 of seed and labels.

    Args:
        seed: of the run.
        labels: of the purpose; their text is used.

    >>> derive(0, "order", 1) == derive(0, "order", 1)
    True
    >>> derive(0, "order", 1) == derive(0, "order", 2)
    False
    """
    text = "/".join(str(part) for part in (seed, *labels))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big") >> 1


def seed_torch(seed: int, *labels: object) -> None:
    """Seed torch's generators on all devices for one purpose.

    Equivalent to ``torch.manual_seed``, which inspects the call stack for every type of device that is not available
    and takes longer than a small training step.

    Args:
        seed: of the run.
        labels: of the purpose; see ``derive``.
    """
    number = derive(seed, *labels)
    torch.default_generator.manual_seed(number)
    if _has_cuda():
        torch.cuda.manual_seed_all(number)


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Put back the state of torch's generators at the end, on the CPU and on CUDA devices in use.

    NumPy's and Python's generators are never seeded.
    """
    state = torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if _has_cuda() and torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(state)
        if devices:
            torch.cuda.set_rng_state_all(devices)


@cache
def _has_cuda() -> bool:
    """Return whether CUDA is available, queried once."""
    return torch.cuda.is_available()
