"""``i2ikd infer``: apply a trained network to new data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from i2ikd.cli import options
from i2ikd.errors import UserError

if TYPE_CHECKING:
    import torch
    from rich.console import Console
    from torch import nn

    from i2ikd.evaluation.infer import ProgressIterator
    from i2ikd.task import Task


@click.command("infer")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, metavar="FILE-or-FOLDER")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE-or-FOLDER")
@click.option("--tile", type=click.IntRange(min=1), metavar="N", help="Process slices in tiles of N x N pixels.")
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    metavar="M",
    help="Overlap of neighbouring tiles in pixels; default: N / 4.",
)
@click.option(
    "--scale",
    type=click.Choice(["source", "unit"]),
    default="source",
    show_default=True,
    help="Write the units of the input, or the values of the network.",
)
@click.option("--force", is_flag=True, help="Overwrite existing results.")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Experiment whose task reads and writes the files; default: the run's.",
)
@options.overrides
@options.as_json
def command(
    run: Path,
    source: Path,
    output: Path,
    tile: int | None,
    overlap: int | None,
    scale: Literal["source", "unit"],
    force: bool,
    experiment: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Apply the network in the folder RUN (e.g. runs/brain-4x/students/kd-mri/seed0) to a file or a folder of files.

    RUN may be a bundle, written by `i2ikd export --bundle`, which needs neither the experiment nor its data. The task
    reads the input like its training data; the suffix of the output's name selects the file format.
    """
    from rich.console import Console

    from i2ikd.components import reader_suffixes
    from i2ikd.evaluation.infer import Inference, plan
    from i2ikd.evaluation.tiles import Tiling
    from i2ikd.registry import default_registry

    if overlap is not None and tile is None:
        raise UserError("--overlap needs --tile, the size of the tiles; add --tile N")
    tiling = None if tile is None else Tiling(tile, overlap)
    network, task, device = _opened(run, experiment, overrides)
    jobs = plan(task, reader_suffixes(default_registry()), source, output, force)
    infer = Inference(network, task, device, tiling, scale)
    console = Console(stderr=as_json)
    rows: list[dict[str, Any]] = []
    for job in jobs:
        start = time.monotonic()
        slices = infer(job, _bar(job.source.name, console))
        seconds = time.monotonic() - start
        rows.append({"input": str(job.source), "output": str(job.target), "slices": slices, "seconds": seconds})
        if not as_json:
            click.echo(f"{job.source} -> {job.target}: {slices} slices, {seconds:.1f} s")
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))


def _opened(run: Path, experiment: Path | None, overrides: tuple[str, ...]) -> tuple[nn.Module, Task, torch.device]:
    """Return network, task and device of a run or of a bundle."""
    import torch

    from i2ikd.deploy.predictor import is_bundle, load_bundle
    from i2ikd.engine.run import load_network
    from i2ikd.experiment.delivery import bundle_task
    from i2ikd.experiment.evaluate_run import context_of, finished_run
    from i2ikd.registry import default_registry

    if experiment is None and is_bundle(run):
        return load_bundle(run), bundle_task(run, default_registry(), overrides), torch.device("cpu")
    context = context_of(run, experiment, overrides)
    return load_network(context.registry, finished_run(run)), context.task, context.device


def _bar(name: str, console: Console) -> ProgressIterator:
    """Return an iterator over slices with a progress bar, which is shown on terminals only."""
    from rich.progress import track

    def iterate(slices: range) -> Iterable[int]:
        return track(slices, name, console=console, transient=True, disable=not console.is_terminal)

    return iterate
