"""Where a run computes: device, and what the process needs to be told once to be fast."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import torch

from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.errors import UserError


def resolve_device(name: str, group: ProcessGroup = SINGLE_PROCESS) -> torch.device:
    """Return the device; ``auto`` is CUDA where there is one. Of several processes each has a CUDA device of its own.

    Raises:
        UserError: CUDA was asked for and there is none, or fewer devices than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device = 'cuda', but torch sees no CUDA device here; use device = 'auto' or 'cpu'")
    if name == "cuda" and group.size > 1:
        return _own_device(group.local_rank)
    return torch.device(name)


def _own_device(local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise UserError(
            f"torch sees {count} CUDA devices here, too few for the processes; start torchrun with --nproc-per-node "
            f"{count}, or train with -o training.device=cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def avx2_alone(device: torch.device) -> bool:
    """Whether this is an x86 CPU without AVX-512: without fast bfloat16, and with slower kernels of oneDNN."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"


def training_format(device: torch.device) -> torch.memory_format:
    """Return the memory format of images and student in training: channels-last, but not on a CPU with AVX2 alone.

    There oneDNN computes the weight gradient of a channels-last convolution much slower than that of a contiguous one
    (``docs/performance.md``). Forward passes were faster in channels-last where they were measured, so the teacher and
    every evaluation have it always.
    """
    return torch.contiguous_format if avx2_alone(device) else torch.channels_last


@cache
def keep_large_blocks() -> bool:
    """Tell glibc's allocator not to give large blocks back to the system; return whether it took it.

    Feature maps of tens of megabytes are allocated and freed in every step; by default each is mapped, zeroed page by
    page and unmapped again. Keeping the blocks changes no number. Elsewhere than on glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4
    largest = 2**31 - 1
    taken = [mallopt(mmap_threshold, largest), mallopt(mmap_max, 0), mallopt(trim_threshold, largest)]
    return bool(taken[1] and taken[2])
