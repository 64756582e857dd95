"""Measure the whole table with one command: ``python -m benchmarks.run``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import groups_other, groups_training
from benchmarks.measure import Plan
from benchmarks.setting import Setting
from benchmarks.table import Row, print_table
from benchmarks.worker import Worker

GROUPS: Mapping[str, Callable[[Plan], list[Row]]] = {
    "output": groups_training.output_stage,
    "attention": groups_training.attention_stage,
    "inference": groups_other.inference,
    "growth": groups_training.growth,
    "arms": groups_other.arms,
    "evaluation": groups_other.evaluation,
    "reading": groups_other.reading,
    "start": groups_other.start,
}
_WIDTH = 190
"""Width of a table that is written to a file, without line breaks."""
_ON_CUDA = ("output", "attention", "inference")


@click.command()
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
@click.option("--batch", default=4, show_default=True, help="Slices per step.")
@click.option("--rounds", default=7, show_default=True, help="Interleaved rounds of every comparison.")
@click.option("--units", default=2, show_default=True, help="Steps of every variant per round.")
@click.option("--threads", default=0, help="Threads of every worker; default: as torch selects.")
@click.option("--quick", is_flag=True, help="3 rounds of 1 step, fewer slices and arms.")
@click.option(
    "--bf16/--no-bf16", default=None, help="Measure rows in bfloat16; default: if it is faster on this machine."
)
@click.option("--only", multiple=True, type=click.Choice(list(GROUPS)), help="Only these groups (repeatable).")
@click.option("--cascades", default=5, show_default=True, help="Cascades of both networks.")
@click.option("--channels", default=32, show_default=True, help="Channels of both networks.")
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows to this file too."
)
def main(
    size: int,
    batch: int,
    rounds: int,
    units: int,
    threads: int,
    quick: bool,
    bf16: bool | None,
    only: tuple[str, ...],
    cascades: int,
    channels: int,
    file: Path | None,
) -> None:
    """Measure i2ikd against the plain loop and against this machine, and print a table of ratios.

    Run it on an idle machine. Every variant has its own process. Only one works at a time, in turns, so that other load
    affects all of them.
    """
    if quick:
        rounds, units = min(rounds, 3), 1
    base = Setting(size=size, batch=batch, samples=2 * batch, cascades=cascades, channels=channels, threads=threads)
    description = machine(base)
    plan = Plan(base, rounds, units, description["precision"] == "bf16" if bf16 is None else bf16, quick, Worker)
    console, rows = Console(), list[Row]()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for name, plans in _work(plan, only or tuple(GROUPS), description["cuda"] is not None):
        console.print(f"measuring {name} on {plans.base.device}", highlight=False)
        rows += GROUPS[name](plans)
    print_table(rows, description, console)
    if file is not None:
        content = {"machine": description, "setting": asdict(base), "rounds": rounds, "units": units}
        text = json.dumps({**content, "rows": [row.as_json() for row in rows]}, indent=1, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")


def machine(base: Setting) -> dict[str, Any]:
    """Return the description of the machine from a worker."""
    worker = Worker("machine", base)
    try:
        return dict(worker.run_units().notes)
    finally:
        worker.close()


def _work(plan: Plan, names: tuple[str, ...], cuda: bool) -> list[tuple[str, Plan]]:
    """List the groups; those about networks a second time for a GPU if available."""
    on_gpu = replace(plan, base=replace(plan.base, device="cuda"))
    return [(name, plan) for name in names] + [(name, on_gpu) for name in names if cuda and name in _ON_CUDA]


if __name__ == "__main__":
    main()
