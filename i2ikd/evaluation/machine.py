"""Name of the CPU, for measurements of time, and available memory."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path


@cache
def cpu_model() -> str:
    """Return the product name of the CPU, or its architecture where the system does not state the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def available_mib() -> float | None:
    """Return the memory that processes can take without swapping, in MiB; ``None`` where the system does not state it.

    The limit of a Linux control group counts too; its file cache can be freed.
    """
    free = [value for value in (_of_system(), _of_control_group(Path("/sys/fs/cgroup"))) if value is not None]
    return min(free) / 2**20 if free else None


def _of_system() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return None
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _of_control_group(folder: Path) -> float | None:
    try:
        limit, used = ((folder / name).read_text("utf-8").strip() for name in ("memory.max", "memory.current"))
        cached = [
            line.split()[1] for line in (folder / "memory.stat").read_text("utf-8").splitlines() if line[:5] == "file "
        ]
        return float(limit) - float(used) + float(cached[0]) if limit != "max" else None
    except (OSError, ValueError, IndexError):
        return None
