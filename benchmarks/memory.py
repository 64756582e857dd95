"""List the tensors that are alive at the memory peak of a training step: ``python -m benchmarks.memory``."""

from __future__ import annotations

from collections import Counter

import click
from rich.console import Console
from rich.table import Table

from benchmarks.engine_loop import train_stage
from benchmarks.setting import Setting
from benchmarks.turn import process_memory_mib
from i2ikd.bounded_cache import MIB
from i2ikd.callback import NullCallback
from i2ikd.engine.device import keep_large_blocks
from i2ikd.storage_meter import StorageMeter

_ROWS = 8
_STEPS = 4


@click.command()
@click.option("--stage", type=click.Choice(["output", "features"]), default="output", show_default=True)
@click.option("--live", is_flag=True, help="Evaluate the teacher in every step.")
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
def main(stage: str, live: bool, size: int) -> None:
    """Sum the tensors alive at the peak of a step by operator and shape, and print the memory of the process."""
    keep_large_blocks()
    before = process_memory_mib("VmHWM")
    setting = Setting(stage=stage, cache=not live, size=size)  # type: ignore[arg-type]
    meter = StorageMeter()
    with meter:
        train_stage(setting, epochs=_STEPS * setting.batch // setting.samples, callback=_Steps(meter))
    sizes: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for allocation in meter.at_peak:
        sizes[allocation.operator, allocation.shape] += allocation.bytes
    title = f"tensors alive at the peak of a step, during {meter.peak_operator}"
    table = Table("operator", "shape", "MiB", title=title)
    for (operator, shape), size_in_bytes in sizes.most_common(_ROWS):
        table.add_row(operator, " x ".join(map(str, shape)), f"{size_in_bytes / MIB:.0f}")
    table.add_row("all", "", f"{meter.peak / MIB:.0f}", style="bold")
    process = process_memory_mib("VmHWM") - before
    table.add_row("the process, beyond what it imports", "", f"{process:.0f}", style="bold")
    Console().print(table)


class _Steps(NullCallback):
    """Reset the peak after all steps except the last, to exclude work that is done once."""

    def __init__(self, meter: StorageMeter) -> None:
        self._meter = meter
        self._left = _STEPS

    def on_step_end(self) -> None:
        """Reset the peak unless this was the last step."""
        self._left -= 1
        if self._left > 0:
            self._meter.reset_peak()


if __name__ == "__main__":
    main()
