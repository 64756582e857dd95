"""``i2ikd evaluate``: score a trained network on a split."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--experiment",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Experiment whose task and metrics are used; default: the run's.",
)
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Write the scores to a new file, one line per slice.",
)
@options.trust
@options.overrides
@options.as_json
def command(
    run: Path,
    experiment: Path | None,
    split: str,
    records: Path | None,
    trust: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score the network in the folder RUN (e.g. runs/brain-4x/students/kd-mri/seed0) and the task's baselines."""
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.evaluation.records import write_records
    from i2ikd.experiment.evaluate_run import evaluate_run
    from i2ikd.report.table import print_scores

    if records is not None and records.exists():
        raise UserError(f"{records} exists already; choose another file for --records")
    keep_large_blocks()
    scores, lines = evaluate_run(run, experiment, overrides, split, trust)
    if records is not None:
        write_records(records, lines)
    if as_json:
        rows = [{"arm": arm, **{k: e.as_json() for k, e in columns.items()}} for arm, columns in scores.items()]
        print_json(rows)
    else:
        print_scores(scores, split)
