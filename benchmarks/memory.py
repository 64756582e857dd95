"""List the tensors that are alive at the memory peak of a training step: ``python -m benchmarks.memory``."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.engine_loop import train_stage
from benchmarks.setting import Setting
from benchmarks.turn import process_memory_mb
from i2ikd.callback import NullCallback
from i2ikd.engine.device import keep_large_blocks

_ROWS = 8
_STEPS = 4
Held = Counter[tuple[str, tuple[int, ...]]]


@click.command()
@click.option("--stage", type=click.Choice(["output", "features"]), default="output", show_default=True)
@click.option("--live", is_flag=True, help="Evaluate the teacher in every step.")
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
def main(stage: str, live: bool, size: int) -> None:
    """Sum the tensors alive at the peak of a step by operator and shape, and print the memory of the process."""
    keep_large_blocks()
    before = process_memory_mb("VmHWM")
    setting = Setting(stage=stage, cache=not live, size=size)  # type: ignore[arg-type]
    tensors = _Tensors()
    with tensors:
        train_stage(setting, epochs=_STEPS * setting.batch // setting.samples, callback=_Steps(tensors))
    table = Table("made by", "shape", "MB", title=f"tensors alive at the peak of a step, while {tensors.during} ran")
    for (operator, shape), size_in_bytes in tensors.at_peak.most_common(_ROWS):
        table.add_row(operator, " x ".join(map(str, shape)), f"{size_in_bytes / 1e6:.0f}")
    table.add_row("all", "", f"{tensors.peak / 1e6:.0f}", style="bold")
    table.add_row("the process, beyond what it imports", "", f"{process_memory_mb('VmHWM') - before:.0f}", style="bold")
    Console().print(table)


class _Tensors(TorchDispatchMode):
    """Track every storage from the operator that allocates it to its release."""

    def __init__(self) -> None:
        super().__init__()
        self.during = ""
        self.peak = 0
        self.at_peak: Held = Counter()
        self._alive: dict[int, tuple[str, tuple[int, ...], int]] = {}
        self._bytes = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = operator(*args, **(kwargs or {}))
        for tensor in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
            if isinstance(tensor, torch.Tensor):
                self._track(tensor, str(operator))
        return outputs

    def _track(self, tensor: torch.Tensor, operator: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if size == 0 or key in self._alive:
            return
        self._alive[key] = operator, tuple(tensor.shape), size
        self._bytes += size
        weakref.finalize(storage, self._release, key)
        if self._bytes > self.peak:
            self.peak, self.during, self.at_peak = self._bytes, operator, Counter()
            for made_by, shape, held in self._alive.values():
                self.at_peak[made_by, shape] += held

    def _release(self, key: int) -> None:
        self._bytes -= self._alive.pop(key)[2]


class _Steps(NullCallback):
    """Reset the peak after all steps except the last, to exclude work that is done once."""

    def __init__(self, tensors: _Tensors) -> None:
        self._tensors = tensors
        self._left = _STEPS

    def stepped(self) -> None:
        """Reset the peak unless the last step is next."""
        self._left -= 1
        if self._left > 0:
            self._tensors.peak = 0


if __name__ == "__main__":
    main()
