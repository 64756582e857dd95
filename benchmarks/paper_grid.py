"""Hours that the paper's grid takes on this device, from measured steps: ``python -m benchmarks.paper_grid``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Plan, seconds
from benchmarks.setting import Setting
from benchmarks.table import number
from benchmarks.worker import Worker

ACCELERATIONS = ("4x", "5x", "8x")
SEEDS = 3


@dataclass(frozen=True)
class Anatomy:
    """Training data of three cells of the grid, as the bundled experiments read it.

    Attributes:
        slices: of the training split.
        epochs: of every arm.
    """

    slices: int
    epochs: int


ANATOMIES = {"brain": Anatomy(130, 120), "cardiac": Anatomy(152, 120), "knee": Anatomy(12, 1200)}
ARMS = {
    "teacher": "deep",
    "student": "plain",
    "control": "plain",
    "kd-mri, attention": "features",
    "kd-mri, output": "output",
    "recommended": "output",
}
"""Measured step of every part of a cell; KD-MRI's two stages have half of the epochs each."""


def settings(size: int, device: str, batch: int = 4) -> dict[str, Setting]:
    """Return the measured steps by name; caches of the teacher are on, except for the features."""
    base = Setting(size=size, batch=batch, samples=2 * batch, device=device)
    base = replace(base, precision="bf16" if device == "cuda" else "fp32")
    return {
        "deep": replace(base, student_depth=base.teacher_depth),
        "plain": base,
        "features": replace(base, stage="features", cache=False),
        "output": base,
    }


def hours(step_seconds: dict[str, float], batch: int = 4) -> dict[str, float]:
    """Return the hours of one cell by anatomy, all seeds and arms.

    Args:
        step_seconds: of the measured steps, by name.
        batch: slices per step.
    """
    found = {}
    for name, anatomy in ANATOMIES.items():
        steps = anatomy.epochs * (anatomy.slices // batch)
        parts = [step_seconds[step] * (0.5 if "," in arm else 1.0) for arm, step in ARMS.items()]
        found[name] = SEEDS * steps * sum(parts) / 3600
    return found


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--size", default=128, show_default=True, help="Side of the slices; the experiments resample to 128.")
@click.option("--rounds", default=3, show_default=True, help="Interleaved rounds.")
@click.option("--units", default=5, show_default=True, help="Steps of every variant per round.")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here too.")
def main(device: str, size: int, rounds: int, units: int, file: Path | None) -> None:
    """Measure the steps of the paper's networks and print the hours of each cell, three seeds and six arms."""
    steps = settings(size, device)
    plan = Plan(steps["plain"], rounds, units, False, False, Worker)
    replies = plan.measure({name: ("engine", setting) for name, setting in steps.items()})
    taken = {name: seconds(replies[name]).median for name in steps}
    cells = hours(taken)
    table = Table("cell", "hours", title=f"{SEEDS} seeds, {size} x {size}, {device}, {steps['plain'].precision}")
    for name, value in cells.items():
        for acceleration in ACCELERATIONS:
            table.add_row(f"{name} {acceleration}", number(value))
    table.add_row("all nine", number(len(ACCELERATIONS) * sum(cells.values())), style="bold")
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {number(1e3 * value)} ms a step" for name, value in taken.items()))
    if file is not None:
        content = {"device": device, "size": size, "seconds": taken, "hours": cells}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
