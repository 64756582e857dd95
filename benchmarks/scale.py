"""Scale of comparisons and data sets: ``python -m benchmarks.scale``.

Two groups of rows: ``runs``, a comparison of 200 arms and 5 seeds, planned, scored and reported without training; and
``files``, a data set of 10,000 volumes, listed, digested and read. Times are of this process; ratios between sizes of a
data set are of processes of their own, in interleaved rounds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console

from benchmarks import many_files, many_runs
from benchmarks.machine import processor
from benchmarks.table import Row, print_table

_WIDTH = 190


@click.command()
@click.option("--arms", type=click.IntRange(min=2), default=200, show_default=True, help="Arms of the comparison.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Seeds of the comparison.")
@click.option("--volumes", type=click.IntRange(min=64), default=10_000, show_default=True, help="Of the data set.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Of every measurement.")
@click.option("--only", multiple=True, type=click.Choice(["runs", "files"]), help="Only this group (repeatable).")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows here too.")
def main(arms: int, seeds: int, volumes: int, rounds: int, only: tuple[str, ...], file: Path | None) -> None:
    """Measure both groups and print the table."""
    import torch

    groups: dict[str, Callable[[], list[Row]]] = {
        "runs": lambda: many_runs.rows(arms, seeds, rounds),
        "files": lambda: many_files.rows(volumes // 8 * 8, rounds),
    }
    rows = [row for name, measure in groups.items() if not only or name in only for row in measure()]
    description = {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    console = Console()
    print_table(rows, description, console if console.is_terminal else Console(width=_WIDTH))
    if file is not None:
        content = {"machine": description, "rows": [row.as_json() for row in rows]}
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
