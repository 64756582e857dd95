"""One variant in a process of its own, because allocator, threads and memory belong to a process."""

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
from benchmarks.turn import Over, PipeTurn, Turn

VARIANTS = {
    "plain": "benchmarks.plain_loop:run",
    "engine": "benchmarks.engine_loop:run",
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
    """Return the function of a variant."""
    module, _, attribute = VARIANTS[name].partition(":")
    found: Callable[[Setting, Turn], None] = getattr(importlib.import_module(module), attribute)
    return found


@dataclass(frozen=True)
class Reply:
    """What units of work took.

    Attributes:
        seconds: of one unit, mean over those asked for.
        fastest: of one unit, the fastest of them (on CUDA the mean).
        resident_mb: of the worker's memory, now.
        allocated_mb: what it has allocated and not freed, now (``turn.allocated_mb``).
        peak_mb: at most so far; on CUDA the device's.
        base_mb: before the first unit, set-up and imports included; on CUDA the device's.
        facts: what the variant notes (operations or bytes of a unit).
    """

    seconds: float
    fastest: float
    resident_mb: float
    allocated_mb: float
    peak_mb: float
    base_mb: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Worker:
    """The parent's end of a worker; it works only while ``ask`` waits for it."""

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
        self._base = self._hear()["base_mb"]

    def ask(self, units: int = 1) -> Reply:
        """Let it do units of work and wait for what they took.

        Raises:
            RuntimeError: the worker died; why stands on stderr.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{units}\n")
        self._process.stdin.flush()
        return Reply(**self._hear(), base_mb=self._base)

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker {self.name!r} ended with exit code {self._process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """Let it end."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


def main(name: str, text: str) -> None:
    """Be a worker; what the variant prints goes to stderr, stdout is the pipe's."""
    setting = Setting.from_json(text)
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = variant(name)
    if setting.threads:
        import torch

        torch.set_num_threads(setting.threads)
    with contextlib.suppress(Over):
        work(setting, PipeTurn(sys.stdin, told, setting.device))


if __name__ == "__main__":
    main(*sys.argv[1:])
