"""Interleaving of variants: a variant runs units of work on request and waits between requests."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import IO, Any, Protocol


class Finished(Exception):  # noqa: N818 (no error)
    """Raised when no more units are requested."""


class Turn(Protocol):
    """Interface through which a variant receives requests for units of work."""

    def note(self, **notes: Any) -> None:
        """Attach values to every reply, such as the operations of a unit."""

    def begin(self) -> None:
        """End the set-up and wait for the first request."""

    def done(self) -> None:
        """Count a finished unit; wait for the next request when all are done.

        Raises:
            Finished: no more units are requested.
        """


class PipeTurn:
    """Turn over a pipe: reads lines with a number of units, writes a line of JSON with their measurements."""

    def __init__(self, requests: IO[str], replies: IO[str], device: str) -> None:
        self._requests = requests
        self._replies = replies
        self._cuda = device == "cuda"
        self._notes: dict[str, Any] = {}
        self._requested = self._left = 0
        self._start = self._last = self._fastest = 0.0

    def note(self, **notes: Any) -> None:
        """Attach values to every reply."""
        self._notes.update(notes)

    def begin(self) -> None:
        """Send the memory after set-up and wait for the first request."""
        self._send({"base_mib": self._peak_mib()})
        self._wait()

    def done(self) -> None:
        """Count a unit; after the last requested one, reply and wait."""
        self._left -= 1
        if not self._cuda:  # CUDA kernels run asynchronously, so the time of one unit is unknown
            now = time.perf_counter()
            self._fastest, self._last = min(self._fastest, now - self._last), now
        if self._left == 0:
            self._synchronise()
            mean = (time.perf_counter() - self._start) / self._requested
            memory = {"resident_mib": resident_mib(), "allocated_mib": allocated_mib(), "peak_mib": self._peak_mib()}
            self._send({"seconds": mean, "fastest": min(self._fastest, mean), **memory, "notes": self._notes})
            self._wait()

    def _wait(self) -> None:
        gc.collect()
        line = self._requests.readline()
        if not line.strip():
            raise Finished
        self._requested = self._left = int(line)
        self._synchronise()
        self._fastest = float("inf")
        self._start = self._last = time.perf_counter()

    def _send(self, reply: dict[str, Any]) -> None:
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()

    def _synchronise(self) -> None:
        if self._cuda:
            import torch

            torch.cuda.synchronize()

    def _peak_mib(self) -> float:
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        return process_memory_mib("VmHWM")


def resident_mib() -> float:
    """Return the current resident memory of this process, in MiB."""
    return process_memory_mib("VmRSS")


class _Allocations(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


def allocated_mib() -> float:
    """Return the memory that this process has allocated and not freed, tensors and all else, in MiB.

    Resident memory also includes freed blocks that the allocator keeps. If a small block is placed in the gap of a
    large one, the next large block is taken from the system, at a step that differs between machines.

    Blocks of Python's own small objects, at most 512 bytes each, are not included. On systems without glibc 2.33 or
    newer, this is the resident memory.
    """
    try:
        mallinfo2 = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return resident_mib()
    mallinfo2.restype = _Allocations
    allocations = mallinfo2()
    return int(allocations.uordblks + allocations.hblkhd) / 2**20


def process_memory_mib(field: str) -> float:
    """Return a field of /proc/self/status in MiB; on other systems than Linux the peak resident memory."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
