"""``i2ikd demo``: a complete comparison on simulated data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import click

from i2ikd.cli import compare, options
from i2ikd.cli.init import packaged_experiment
from i2ikd.config import apply_override, check_experiment


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default="demo", metavar="DIR", show_default=True)
@click.option("--task", metavar="NAME", help="Task of the demo.")
@options.processes
@options.overrides
@options.as_json
def command(
    out: Path, task: str | None, processes: int | Literal["auto"] | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Compare distilled students with equal-budget controls on simulated data; print the table and what beats what.

    A repeated call prints the table without training, and an interrupted one continues from its checkpoints.
    `-o training.epochs=2` shortens every run except stages with epochs of their own. Without `--processes`, as many
    runs are trained at a time as cores and memory permit.
    """
    name, text = packaged_experiment(task, "demo")
    document = tomllib.loads(text)
    for override in overrides:
        apply_override(document, override)
    execution = compare.Execution(processes=processes or options.AUTO)
    compare.run(check_experiment(document, f"the demo of {name}"), out, None, None, False, as_json, execution)
