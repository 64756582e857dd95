"""Largest float32 error of every distiller at real image sizes: ``python -m benchmarks.precision``.

Prints the table of docs/methods.md. Features are random; options are the defaults, except for the size and the training
of modules that a method prepares (``OPTIONS``). Adapters take three channels to four, so that the gradients of their
weights are counted.
"""

from __future__ import annotations

import os
from typing import Any

import torch

import i2ikd
from benchmarks.machine import processor
from i2ikd.testing.distiller_precision import SIZES, PrecisionError, precision_errors

OPTIONS: dict[str, dict[str, Any]] = {
    "contrastive": {"steps": 1, "width": 4, "negatives": "own"},
    "factor": {"steps": 1},
    "target": {"loss": "l1"},
}
CHANNELS = {"cascade": (1, 1)}
PAIRS = {"fsp": 2, "review": 2}
SETTINGS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS")


def main() -> None:
    """Measure and print."""
    given = ", ".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ)
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{processor()}, torch {torch.__version__} ({capability}{', ' + given if given else ''})\n")
    heads = [f"{part}, {height}×{width}" for height, width in SIZES for part in ("value", "gradient")]
    print(f"| method | {' | '.join(heads)} |\n|---|{'--:|' * len(heads)}")
    for name in sorted(i2ikd.list_components("distiller")):
        found = _measure(name)
        cells = [cell for size in SIZES for cell in _largest([error for error in found if error.size == size])]
        print(f"| `{name}` | {' | '.join(f'{cell:.1e}' for cell in cells)} |", flush=True)


def _measure(name: str) -> list[PrecisionError]:
    target, options = i2ikd.get("distiller", name), OPTIONS.get(name, {})
    found = precision_errors(lambda: target(**options), channels=CHANNELS.get(name, (4, 3)), pairs=PAIRS.get(name, 1))
    return list(found)


def _largest(errors: list[PrecisionError]) -> tuple[float, float]:
    return max(error.value for error in errors), max(max(error.gradient, error.parameters) for error in errors)


if __name__ == "__main__":
    main()
