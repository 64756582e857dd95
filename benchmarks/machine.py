"""Describe the machine of a table, and whether bfloat16 is faster on it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd.engine.device import keep_large_blocks
from i2ikd.engine.precision import resolve_precision


def run(setting: Setting, turn: Turn) -> None:
    """Note processor, threads, versions, and the precision that ``precision = "auto"`` selects."""
    keep_large_blocks()
    cuda = torch.cuda.is_available()
    turn.note(
        processor=_processor(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        torch=torch.__version__,
        precision=resolve_precision("auto", torch.device("cpu")),
        cuda=torch.cuda.get_device_name() if cuda else None,
    )
    turn.begin()
    while True:
        turn.done()


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
