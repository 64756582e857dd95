"""Measure the whole table with one command: ``python -m benchmarks.run``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import groups_other, groups_rivals, groups_training
from benchmarks.measure import Plan
from benchmarks.setting import Setting
from benchmarks.table import Row, print_table
from benchmarks.worker import Worker

GROUPS: Mapping[str, Callable[[Plan], list[Row]]] = {
    "output": groups_training.output_stage,
    "attention": groups_training.attention_stage,
    "rivals": groups_rivals.rivals,
    "grid": groups_rivals.grid,
    "inference": groups_other.inference,
    "growth": groups_training.growth,
    "arms": groups_other.arms,
    "evaluation": groups_other.evaluation,
    "reading": groups_other.reading,
    "start": groups_other.start,
}
_WIDTH = 190
"""Width of a table that is written to a file, without line breaks."""
_ON_CUDA = ("output", "attention", "rivals", "grid", "inference")


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
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks are measured; auto: on the CPU, then on a GPU if there is one.",
)
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
    device: str,
    cascades: int,
    channels: int,
    file: Path | None,
) -> None:
    """Measure i2ikd against plain and expert loops, other libraries and this machine; print a table of ratios.

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
    cuda = description["cuda"] is not None
    if device == "cuda" and not cuda:
        raise click.UsageError("--device cuda: expected a GPU that torch can use, got none; use --device cpu")
    for name, plans in _work(plan, only or tuple(GROUPS), device != "cuda", cuda and device != "cpu"):
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


def _work(plan: Plan, names: tuple[str, ...], cpu: bool, cuda: bool) -> list[tuple[str, Plan]]:
    """List the groups to measure on the CPU, and those about networks on a GPU."""
    on_gpu = replace(plan, base=replace(plan.base, device="cuda"))
    groups = [(name, plan) for name in names if cpu]
    return groups + [(name, on_gpu) for name in names if cuda and name in _ON_CUDA]


if __name__ == "__main__":
    main()
