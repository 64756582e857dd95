"""Device and memory format of a run, and allocator settings of the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path

import torch

from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup
from i2ikd.errors import UserError


def resolve_device(name: str, group: ProcessGroup = SINGLE_PROCESS) -> torch.device:
    """Return the device of a run.

    Args:
        name: ``auto`` (CUDA if available, else CPU), ``cuda``, or ``cpu``.
        group: the processes of the run; each of several processes has its own CUDA device, chosen by its local rank.

    Raises:
        UserError: CUDA is requested but not available, or there are fewer CUDA devices than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device = 'cuda', but torch finds no CUDA device; use device = 'auto' or 'cpu'")
    if name == "cuda" and group.size > 1:
        return _own_device(group.local_rank)
    return torch.device(name)


def _own_device(local_rank: int) -> torch.device:
    """Select the CUDA device of one of several processes on this machine."""
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise UserError(
            f"torch finds {count} CUDA devices, too few for the processes; start torchrun with --nproc-per-node "
            f"{count}, or train with -o training.device=cpu"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def avx2_alone(device: torch.device) -> bool:
    """Return whether the device is an x86 CPU with AVX2 but without AVX-512.

    Such a CPU has no fast bfloat16 instructions, and oneDNN's kernels for it are slower.

    Args:
        device: of the run.
    """
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"


@cache
def bfloat16_instructions() -> bool:
    """Return whether convolutions on the CPU have bfloat16 instructions: AVX-512 BF16, or AMX.

    Without them bfloat16 is emulated, slower than float32. Read from Linux; ``ATEN_CPU_CAPABILITY`` is heeded.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def training_format(device: torch.device) -> torch.memory_format:
    """Return the memory format of images and student in training: channels-last, except on CPUs without AVX-512.

    On CPUs with AVX2 alone, oneDNN computes the weight gradient of a channels-last convolution much slower than that of
    a contiguous one (``docs/performance.md``). Forward passes were faster in channels-last in all measurements, so the
    teacher and every evaluation always use it.

    Args:
        device: of the run.
    """
    return torch.contiguous_format if avx2_alone(device) else torch.channels_last


@cache
def keep_large_blocks() -> bool:
    """Configure glibc's allocator to keep large freed blocks instead of returning them to the system.

    Feature maps of tens of MiB are allocated and freed in every step; by default each is mapped, zeroed page by
    page and unmapped again. Keeping the blocks does not change results. Without glibc this function does nothing.

    Returns:
        Whether the allocator accepted the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    trim_threshold, mmap_threshold, mmap_max = -1, -3, -4
    largest = 2**31 - 1
    accepted = [mallopt(mmap_threshold, largest), mallopt(mmap_max, 0), mallopt(trim_threshold, largest)]
    return bool(accepted[1] and accepted[2])
