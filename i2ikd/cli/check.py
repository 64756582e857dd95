"""``i2ikd check``: check an experiment and estimate its time, memory and disk space; nothing is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json

if TYPE_CHECKING:
    from i2ikd.config import Experiment
    from i2ikd.experiment.estimate import Estimate


@click.command("check")
@options.experiment_file
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Output folder whose runs are reused.")
@click.option("--arms", metavar="A,B", help="Check these arms only.")
@click.option("--seeds", type=int, metavar="N", help="Use the first N seeds.")
@options.overrides
@options.as_json
def command(
    experiment: Path,
    out: Path | None,
    arms: str | None,
    seeds: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check an experiment, and estimate time, memory and disk space from three measured steps of every stage.

    The same as `i2ikd compare --dry-run`. Nothing is trained, and nothing is written to DIR.
    """
    run(options.load_experiment(experiment, overrides), out, arms, seeds, as_json)


def run(experiment: Experiment, out: Path | None, arms: str | None, seeds: int | None, as_json: bool) -> None:
    """Check an experiment and print its estimate; shared by ``check`` and ``compare --dry-run``.

    Args:
        experiment: a valid experiment.
        out: the output folder; ``None``: every run is trained.
        arms: names of the arms, separated by commas; all when ``None``.
        seeds: number of seeds; the experiment's when ``None``.
        as_json: whether to print JSON.

    Raises:
        UserError: the first problem.
    """
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.experiment.budget import unequal_budgets
    from i2ikd.experiment.checks import check
    from i2ikd.experiment.context import ExperimentContext, simulated_lines
    from i2ikd.experiment.estimate import estimate
    from i2ikd.experiment.folder import refuse_foreign
    from i2ikd.experiment.graph import RunGraph
    from i2ikd.experiment.left_out import left_out
    from i2ikd.experiment.levers import missing_levers
    from i2ikd.experiment.plan import plan
    from i2ikd.registry import default_registry

    chosen, numbers = options.choose_arms(experiment, arms), options.choose_seeds(experiment, seeds)
    keep_large_blocks()
    with tempfile.TemporaryDirectory(prefix="i2ikd-") as scratch:
        if out is not None:
            refuse_foreign(out, experiment)
        graph = RunGraph(ExperimentContext(experiment, default_registry(), out or Path(scratch)))
        check(graph, chosen)
        notes = [
            *graph.context.inventory.lines(),
            *simulated_lines(graph.context.task),
            *left_out(graph, chosen),
            *unequal_budgets(graph, chosen, numbers[0]),
            *missing_levers(graph, chosen, numbers[0]),
        ]
        found = estimate(graph, plan(graph, chosen, numbers), chosen, numbers)
    if as_json:
        print_json({"experiment": experiment.name, "notes": notes, **found.as_json()})
        return
    for line in (*notes, *lines(found)):
        click.echo(line)


def lines(found: Estimate) -> Sequence[str]:
    """Return an estimate as lines of text."""
    from i2ikd.progress import in_words

    width = max(len(run.name) for run in found.runs)
    text = [
        f"{run.action:>6}  {run.name:<{width}}  {run.steps:>9,} steps  {in_words(run.seconds) if run.seconds else ''}"
        for run in found.runs
    ]
    trained = [run for run in found.runs if run.seconds > 0]
    training = found.seconds - found.evaluation_seconds
    return [
        *(line.rstrip() for line in text),
        f"runs: {len(trained)} to train, {len(found.runs) - len(trained)} reused or given",
        f"time: about {in_words(found.seconds)} on {found.device}: training {in_words(training)}, evaluation and "
        f"report {in_words(found.evaluation_seconds)}",
        f"memory: about {found.memory_mib:,.0f} MiB",
        f"disk: about {found.disk_mib:,.0f} MiB, {found.free_mib:,.0f} MiB free",
    ]
