"""``i2ikd compare``: train the missing runs, evaluate all, print the table, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from i2ikd.cli.session import Session
    from i2ikd.config import Arm
    from i2ikd.executors.base import Executor
    from i2ikd.executors.choice import ExecutorName
    from i2ikd.experiment.summary import Comparison

    Select = Callable[[Session, Executor, Sequence[Arm], Sequence[int]], list[Arm]]
    """Choice of arms by training some of them."""


@click.command("compare")
@options.experiment_file
@options.out_folder
@click.option("--arms", metavar="A,B", help="Compare these arms only.")
@click.option(
    "--seeds",
    type=int,
    metavar="N",
    help="Use the first N seeds; further ones are added when the experiment has fewer.",
)
@options.lockstep
@options.processes
@options.executor
@options.executor_options
@click.option("--dry-run", is_flag=True, help="Check and estimate time, memory and disk space; train nothing.")
@options.overrides
@options.as_json
def command(
    experiment: Path,
    out: Path,
    arms: str | None,
    seeds: int | None,
    lockstep: bool,
    processes: int | Literal["auto"] | None,
    executor: str,
    executor_options: tuple[str, ...],
    dry_run: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare distillation methods: train the teacher once per seed, then each arm; evaluate all in one table.

    Finished runs are reused; a changed setting repeats only the runs that depend on it. An interrupted comparison
    continues from its checkpoints when the same command is started again.
    """
    if dry_run:
        from i2ikd.cli.check import run as check

        check(options.load_experiment(experiment, overrides), out, arms, seeds, as_json)
        return
    execution = Execution(executor, processes, executor_options)
    run(options.load_experiment(experiment, overrides), out, arms, seeds, lockstep, as_json, execution)


class Execution(NamedTuple):
    """Executor of the missing runs, with its settings.

    Attributes:
        executor: ``here``, ``slurm`` or ``submitit-local``.
        processes: number of runs at a time, or ``auto``; the executor's default when ``None``.
        options: executor options, as ``KEY=VALUE``.
    """

    executor: str = "here"
    processes: int | Literal["auto"] | None = None
    options: tuple[str, ...] = ()

    def refuse_auto_on_a_cluster(self) -> None:
        """Check that ``auto`` is for runs on this machine.

        Raises:
            UserError: it is for another executor.
        """
        if self.processes == options.AUTO and self.executor != "here":
            from i2ikd.errors import UserError

            raise UserError(
                f"--processes auto is for runs on this machine, got --executor {self.executor}; state the most jobs at "
                "a time, or omit --processes"
            )


_IN_PROCESS = Execution()


def run(
    experiment: object,
    out: Path,
    arms: str | None,
    seeds: int | None,
    lockstep: bool,
    as_json: bool,
    execution: Execution = _IN_PROCESS,
    select: Select | None = None,
) -> Comparison:
    """Run a comparison, print its table and write its report; shared by ``compare``, ``demo`` and ``search``.

    Args:
        experiment: a checked ``Experiment``.
        out: the output folder.
        arms: names of the arms, separated by commas; all when ``None``.
        seeds: number of seeds; the experiment's when ``None``.
        lockstep: whether the arms of one seed share a pass over the data.
        as_json: whether to print JSON instead of the table.
        execution: executor of the missing runs.
        select: returns the arms to compare, among the chosen ones; all of them when ``None``. With it, neither table
            nor JSON is printed.

    Returns:
        The comparison.

    Raises:
        UserError: an invalid experiment, option or folder, or a failed run.
    """
    from i2ikd.cli.session import open_session
    from i2ikd.config import Experiment
    from i2ikd.executors.choice import make_executor, read_options
    from i2ikd.experiment.compare import compare
    from i2ikd.experiment.jobs import worker_setup

    assert isinstance(experiment, Experiment)
    execution.refuse_auto_on_a_cluster()
    chosen, numbers = options.choose_arms(experiment, arms), options.choose_seeds(experiment, seeds)
    settings, remote = read_options(execution.executor, execution.options), execution.executor == "slurm"
    with open_session(experiment, out, chosen, quiet_stdout=as_json, remote=remote) as session:
        context = session.context
        processes, threads = _processes(session, chosen, numbers, lockstep, execution)
        executor = make_executor(
            session.callback,
            session.log,
            out / "workers",
            lambda threads: worker_setup(context, threads),
            name=cast("ExecutorName", execution.executor),
            processes=processes,
            threads=threads,
            options=settings,
            label=f"i2ikd-{experiment.name}",
            gpus=context.device.type == "cuda",
        )
        if select is not None:
            chosen = select(session, executor, chosen, numbers)
        comparison = compare(
            session.graph,
            chosen,
            numbers,
            log=session.log,
            lockstep=lockstep,
            executor=executor,
            callback=session.callback,
        )
        # imported after training, which does not need it: the import takes about a second
        from i2ikd.report.pictures import collect_pictures, save_pictures
        from i2ikd.report.table import print_comparison
        from i2ikd.report.tracked import tracked_images, tracked_rows
        from i2ikd.report.write import write_report

        pictures = collect_pictures(session.graph, comparison)
        save_pictures(pictures, out)
        session.callback.on_results(tracked_rows(comparison), tracked_images(pictures))
        files = write_report(comparison, out)
        if select is None and as_json:
            print_json(comparison.as_json())
        elif select is None:
            print_comparison(comparison, session.console)
        session.log("written: " + ", ".join(str(file) for file in files))
    return comparison


def _processes(
    session: Session, arms: Sequence[Arm], seeds: Sequence[int], lockstep: bool, execution: Execution
) -> tuple[int | None, int | None]:
    """Return the numbers of processes and of threads of each, which ``auto`` chooses for this machine and prints."""
    if execution.processes != options.AUTO:
        return execution.processes, None
    from i2ikd.experiment.plan import plan
    from i2ikd.experiment.process_count import choose_processes

    found = choose_processes(session.graph, plan(session.graph, arms, seeds, lockstep=lockstep))
    session.log(str(found))
    return found.processes, found.threads
