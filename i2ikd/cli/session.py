"""Session of a training command: locks and claims the output folder, and reports how to continue after Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from i2ikd.config import Arm, Experiment
from i2ikd.engine.processes import SINGLE_PROCESS, ProcessGroup

if TYPE_CHECKING:
    from i2ikd.callback import Callback
    from i2ikd.experiment.context import ExperimentContext
    from i2ikd.experiment.graph import RunGraph


@dataclass
class Session:
    """Objects of a training command.

    Attributes:
        graph: runs of the checked experiment.
        console: output of progress and messages; stderr when stdout carries JSON.
        callback: observer of the training loops.
        log: prints one message.
    """

    graph: RunGraph
    console: Console
    callback: Callback
    log: Callable[[str], None]

    @property
    def context(self) -> ExperimentContext:
        """The experiment."""
        return self.graph.context


@contextlib.contextmanager
def open_session(
    experiment: Experiment,
    out: Path,
    arms: Sequence[Arm],
    quiet_stdout: bool = False,
    group: ProcessGroup = SINGLE_PROCESS,
    remote: bool = False,
) -> Iterator[Session]:
    """Check the experiment, then lock and claim the output folder; nothing is written before the checks.

    Of several processes only the main one locks, writes and prints.

    Args:
        experiment: the experiment.
        out: the output folder.
        arms: the arms to check.
        quiet_stdout: whether messages go to stderr.
        group: the processes that train together.
        remote: whether the runs are trained on other machines, whose devices cannot be checked.

    Raises:
        UserError: an invalid experiment, or a folder that is locked or belongs to another experiment.
        Exit: with code 130 after an interruption.
    """
    from i2ikd.callback import NullCallback, combine
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.engine.loop import Interrupted
    from i2ikd.experiment.checks import check
    from i2ikd.experiment.context import ExperimentContext, simulated_lines
    from i2ikd.experiment.ddp_checks import ddp_checks
    from i2ikd.experiment.folder import claim, locked, refuse_foreign
    from i2ikd.experiment.graph import RunGraph
    from i2ikd.experiment.tracking import HookCallback, tracked
    from i2ikd.progress import Display
    from i2ikd.registry import default_registry
    from i2ikd.temporary_files import sweep

    keep_large_blocks()
    console = Console(stderr=quiet_stdout, quiet=not group.is_main)
    refuse_foreign(out, experiment)
    graph = RunGraph(ExperimentContext(experiment, default_registry(), out, group, remote))
    notes = ddp_checks(graph, arms)
    check(graph, arms)

    def log(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    group.barrier()  # no process writes before all have checked the folder
    with contextlib.ExitStack() as resources:
        if group.is_main:
            resources.enter_context(locked(out))
            sweep(out)
            notes += claim(out, experiment)
        group.barrier()
        if group.is_main:
            for line in (*graph.context.inventory.lines(), *simulated_lines(graph.context.task)):
                log(line)
        for line in notes:
            log(line)
        registry = graph.context.registry
        shown: Callback = NullCallback()
        if group.is_main:
            shown = combine(Display(console), HookCallback(registry))
        try:
            with tracked(shown, experiment.trackers if group.is_main else [], registry) as callback:
                yield Session(graph, console, callback, log)
        except Interrupted:
            if group.is_main:
                command = shlex.join([*_launcher(group), *sys.argv[1:]])
                click.echo(f"i2ikd: stopped; a checkpoint was saved. Continue with: {command}", err=True)
            group.barrier()  # torchrun terminates all processes as soon as one exits
            raise click.exceptions.Exit(130) from None


def _launcher(group: ProcessGroup) -> list[str]:
    """Return the command line that precedes the command's name: ``i2ikd`` or ``torchrun ... -m i2ikd``."""
    if group.size == 1:
        return ["i2ikd"]
    return ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", str(group.size)), "-m", "i2ikd"]
