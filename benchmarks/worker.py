"""Worker process of one variant: allocator, threads and memory are properties of a process."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.setting import Setting
from benchmarks.turn import Finished, PipeTurn, Turn

VARIANTS = {
    "plain": "benchmarks.plain_loop:run",
    "engine": "benchmarks.engine_loop:run",
    "expert": "benchmarks.rivals.run:expert",
    "lightning": "benchmarks.rivals.run:lightning",
    "torchdistill": "benchmarks.rivals.run:torchdistill",
    "model-optimizer": "benchmarks.rivals.run:model_optimizer",
    "arms": "benchmarks.engine_loop:run_arms",
    "convolution": "benchmarks.limit:convolution",
    "convolution-forward": "benchmarks.limit:convolution_forward",
    "gemm": "benchmarks.limit:gemm",
    "inference": "benchmarks.inference:run",
    "evaluation": "benchmarks.evaluation:run",
    "reading": "benchmarks.reading:run",
    "reading-raw": "benchmarks.reading:run_raw",
    "reading-reopened": "benchmarks.reading:run_reopened",
    "machine": "benchmarks.machine:run",
}
ROOT = Path(__file__).parents[1]


def variant(name: str) -> Callable[[Setting, Turn], None]:
    """Import and return the function of a variant."""
    module, _, attribute = VARIANTS[name].partition(":")
    function: Callable[[Setting, Turn], None] = getattr(importlib.import_module(module), attribute)
    return function


@dataclass(frozen=True)
class Reply:
    """Measurements of units of work.

    Attributes:
        seconds: Mean seconds per unit.
        fastest: Seconds of the fastest unit; on CUDA the mean.
        resident_mib: Current resident memory of the worker, in MiB.
        allocated_mib: Memory allocated and not freed (``turn.allocated_mib``), in MiB.
        peak_mib: Peak memory so far, in MiB; on CUDA of the device.
        base_mib: Peak memory after imports and set-up, in MiB; on CUDA of the device.
        notes: Values that the variant attaches (operations or bytes of a unit).
    """

    seconds: float
    fastest: float
    resident_mib: float
    allocated_mib: float
    peak_mib: float
    base_mib: float
    notes: Mapping[str, Any] = field(default_factory=dict)


class Worker:
    """Handle of a worker process; the process is idle except during ``run_units``."""

    def __init__(self, name: str, setting: Setting) -> None:
        environment = dict(os.environ)
        if setting.threads:
            environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(setting.threads)
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, setting.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        self._base = self._receive()["base_mib"]

    def run_units(self, units: int = 1) -> Reply:
        """Run units of work in the process and return their measurements.

        Raises:
            RuntimeError: the worker process ended; its error is on stderr.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{units}\n")
        self._process.stdin.flush()
        return Reply(**self._receive(), base_mib=self._base)

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker {self.name!r} ended with exit code {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """Close the pipes and wait until the process ends."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


def main(name: str, text: str) -> None:
    """Run as a worker; output of the variant is redirected to stderr, because stdout is the pipe."""
    setting = Setting.from_json(text)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = variant(name)
    if setting.threads:
        import torch

        torch.set_num_threads(setting.threads)
    with contextlib.suppress(Finished):
        work(setting, PipeTurn(sys.stdin, replies, setting.device))


if __name__ == "__main__":
    main(*sys.argv[1:])
