"""``i2ikd infer``: apply a trained network to new data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from i2ikd.cli import options
from i2ikd.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from i2ikd.task import Task


@click.command("infer")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--input", "source", type=click.Path(path_type=Path), required=True, metavar="FILE-or-FOLDER")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE-or-FOLDER")
@click.option(
    "--simulate",
    is_flag=True,
    help="Simulate the network's input from fully sampled files, as in evaluation; default: files are new data.",
)
@click.option(
    "--suffix",
    metavar=".SUFFIX",
    help="Format of the results of a folder, such as .nii.gz; default: that of each file, if it can be written.",
)
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
@click.option("--skip-existing", is_flag=True, help="Keep existing results and compute the others.")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Experiment whose task reads and writes the files; default: the run's.",
)
@options.trust
@options.overrides
@options.as_json
def command(
    run: Path,
    source: Path,
    output: Path,
    simulate: bool,
    suffix: str | None,
    tile: int | None,
    overlap: int | None,
    scale: Literal["source", "unit"],
    force: bool,
    skip_existing: bool,
    experiment: Path | None,
    trust: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Apply the network in the folder RUN (e.g. runs/brain-4x/students/kd-mri/seed0) to a file or a folder of files.

    RUN may be a bundle, written by `i2ikd export --bundle`, or a registered one (zoo:NAME, see `i2ikd list bundles`),
    which need neither the experiment nor its data. The task reads the input like its training data; the suffix of the
    output's name selects the file format. Results of a folder keep the relative paths of their sources. A file that
    fails does not stop the others: failures are listed at the end, with exit code 2.
    """
    from rich.console import Console

    from i2ikd.cli.inference_results import InferenceResults
    from i2ikd.components import reader_suffixes
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.evaluation.infer import Inference
    from i2ikd.evaluation.inference_plan import plan
    from i2ikd.evaluation.tiles import Tiling
    from i2ikd.registry import default_registry
    from i2ikd.zoo import located

    if overlap is not None and tile is None:
        raise UserError("--overlap needs --tile, the size of the tiles; add --tile N")
    if force and skip_existing:
        raise UserError("expected --force or --skip-existing, got both; choose one")
    keep_large_blocks()
    tiling = None if tile is None else Tiling(tile, overlap)
    run = located(run)
    task, device, load = _opened(run, experiment, overrides, trust)
    found = plan(
        task,
        reader_suffixes(default_registry()),
        source,
        output,
        "overwrite" if force else "skip" if skip_existing else "refuse",
        _checked_suffix(suffix),
    )
    infer = Inference(load(), task, device, tiling, scale, simulate, force)
    results = InferenceResults(found, Console(stderr=as_json), as_json)
    try:
        results.compute(infer)
    except UserError:
        results.show()
        raise
    except KeyboardInterrupt:
        results.show()
        click.echo(f"i2ikd: stopped; {results.how_to_continue(force)}", err=True)
        raise click.exceptions.Exit(130) from None
    results.show()
    results.raise_failures()


def _checked_suffix(suffix: str | None) -> str | None:
    if suffix is not None and (not suffix.startswith(".") or "/" in suffix):
        raise UserError(
            f"--suffix: expected a file name ending that starts with a dot, such as .nii.gz, got {suffix!r}"
        )
    return suffix


def _opened(
    run: Path, experiment: Path | None, overrides: tuple[str, ...], trust: bool
) -> tuple[Task, torch.device, Callable[[], nn.Module]]:
    """Return task and device of a run or of a bundle, and a function that loads its network."""
    import torch

    from i2ikd.deploy.predictor import is_bundle, load_bundle
    from i2ikd.experiment.delivery import bundle_task
    from i2ikd.experiment.finished import context_of, finished_network, registry_for_stored

    if experiment is None and is_bundle(run):
        registry = registry_for_stored(list(overrides), trust)
        return bundle_task(run, registry, overrides), torch.device("cpu"), lambda: load_bundle(run)
    context = context_of(run, experiment, overrides, trust)
    return (
        context.task,
        context.device,
        lambda: finished_network(context.registry, run, context.experiment),
    )
