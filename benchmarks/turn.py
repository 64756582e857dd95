"""Taking turns: a variant does units of work when asked, and waits in between, so that rounds interleave."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import IO, Any, Protocol


class Over(Exception):  # noqa: N818 (nothing went wrong)
    """No more units are wanted."""


class Turn(Protocol):
    """What a variant is given to know when to work."""

    def note(self, **facts: Any) -> None:
        """Say something about the work, which comes with every reply."""

    def begin(self) -> None:
        """Everything is set up: wait for the first request."""

    def done(self) -> None:
        """One unit of work is through; waits where no more is asked for now, raises ``Over`` at the end."""


class PipeTurn:
    """Turns asked for over a pipe: a line with a number of units comes, a line of JSON with what they took goes."""

    def __init__(self, asked: IO[str], told: IO[str], device: str) -> None:
        self._asked = asked
        self._told = told
        self._cuda = device == "cuda"
        self._facts: dict[str, Any] = {}
        self._wanted = self._left = 0
        self._start = self._last = self._fastest = 0.0

    def note(self, **facts: Any) -> None:
        """Remember for the replies."""
        self._facts.update(facts)

    def begin(self) -> None:
        """Say that set-up is done."""
        self._tell({"base_mb": self._peak_mb()})
        self._wait()

    def done(self) -> None:
        """Count a unit; after the last that was asked for, reply and wait."""
        self._left -= 1
        if not self._cuda:  # there, work is still under way when a unit returns
            now = time.perf_counter()
            self._fastest, self._last = min(self._fastest, now - self._last), now
        if self._left == 0:
            self._synchronise()
            mean = (time.perf_counter() - self._start) / self._wanted
            memory = {"resident_mb": resident_mb(), "allocated_mb": allocated_mb(), "peak_mb": self._peak_mb()}
            self._tell({"seconds": mean, "fastest": min(self._fastest, mean), **memory, "facts": self._facts})
            self._wait()

    def _wait(self) -> None:
        gc.collect()
        line = self._asked.readline()
        if not line.strip():
            raise Over
        self._wanted = self._left = int(line)
        self._synchronise()
        self._fastest = float("inf")
        self._start = self._last = time.perf_counter()

    def _tell(self, reply: dict[str, Any]) -> None:
        self._told.write(json.dumps(reply) + "\n")
        self._told.flush()

    def _synchronise(self) -> None:
        if self._cuda:
            import torch

            torch.cuda.synchronize()

    def _peak_mb(self) -> float:
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated() / 1e6
        return process_memory_mb("VmHWM")


def resident_mb() -> float:
    """Return the memory that this process has resident now, in 10^6 bytes."""
    return process_memory_mb("VmRSS")


class _Allocations(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


def allocated_mb() -> float:
    """Return what this process has allocated and not freed, tensors and all else, in 10^6 bytes.

    Resident memory also counts freed blocks that the allocator keeps. Where a small block comes to lie in the gap of a
    large one, the next large one is taken from the system, at a step that differs from machine to machine.

    Blocks of Python's own small objects, at most 512 bytes each, are not counted. Elsewhere than on glibc 2.33 or newer
    it is the resident memory.
    """
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return resident_mb()
    ask.restype = _Allocations
    found = ask()
    return int(found.uordblks + found.hblkhd) / 1e6


def process_memory_mb(field: str) -> float:
    """Return a field of /proc/self/status in 10^6 bytes; elsewhere than on Linux the high-water mark of the process."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
