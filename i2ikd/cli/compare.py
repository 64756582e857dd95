"""``i2ikd compare``: train what is missing, evaluate, print the table, write the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from i2ikd.cli import options

if TYPE_CHECKING:
    from i2ikd.executors.base import Kind


@click.command("compare")
@options.experiment_file
@options.out_folder
@click.option("--arms", metavar="A,B", help="Only these arms.")
@click.option("--seeds", type=int, metavar="N", help="The first N seeds; more than the experiment has are added.")
@options.lockstep
@options.processes
@options.executor
@options.executor_options
@options.overrides
@options.as_json
def command(
    experiment: Path,
    out: Path,
    arms: str | None,
    seeds: int | None,
    lockstep: bool,
    processes: int | None,
    executor: str,
    executor_options: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare ways of distilling: teacher once per seed, then each arm, then one table.

    What is trained already is reused; a changed setting trains again only what it touches. Interrupted and started
    again with the same command, it goes on where it was.
    """
    where = Where(executor, processes, executor_options)
    run(options.load_experiment(experiment, overrides), out, arms, seeds, lockstep, as_json, where)


class Where(NamedTuple):
    """Where the missing runs are trained."""

    executor: str = "here"
    processes: int | None = None
    options: tuple[str, ...] = ()


_HERE = Where()


def run(
    experiment: object,
    out: Path,
    arms: str | None,
    seeds: int | None,
    lockstep: bool,
    as_json: bool,
    where: Where = _HERE,
) -> None:
    """Do it, for ``compare`` and for ``demo``."""
    from i2ikd.cli.session import working
    from i2ikd.config import Experiment
    from i2ikd.executors.base import make_executor, read_options
    from i2ikd.experiment.compare import compare

    assert isinstance(experiment, Experiment)
    chosen, numbers = options.choose_arms(experiment, arms), options.choose_seeds(experiment, seeds)
    settings, remote = read_options(where.executor, where.options), where.executor == "slurm"
    with working(experiment, out, chosen, quiet_stdout=as_json, remote=remote) as session:
        executor = make_executor(
            session.context,
            session.callback,
            session.say,
            kind=cast("Kind", where.executor),
            processes=where.processes,
            options=settings,
        )
        comparison = compare(session.context, chosen, numbers, say=session.say, lockstep=lockstep, executor=executor)
        # imported here, as it takes a second and the training does not need it
        from i2ikd.report.pictures import collect_pictures, save_pictures
        from i2ikd.report.table import print_comparison
        from i2ikd.report.write import write_report

        save_pictures(collect_pictures(session.context, comparison), out)
        files = write_report(comparison, out)
        if as_json:
            click.echo(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False))
        else:
            print_comparison(comparison, session.console)
        session.say("written: " + ", ".join(str(file) for file in files))
