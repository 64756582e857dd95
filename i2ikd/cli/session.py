"""A command that trains in an output folder: claims and locks the folder, and prints how to continue when stopped."""

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
    """What a command that trains works with."""

    graph: RunGraph
    console: Console
    """Where progress and messages are printed: stderr when stdout carries JSON."""
    callback: Callback
    log: Callable[[str], None]

    @property
    def context(self) -> ExperimentContext:
        """The experiment."""
        return self.graph.context


@contextlib.contextmanager
def working(
    experiment: Experiment,
    out: Path,
    arms: Sequence[Arm],
    quiet_stdout: bool = False,
    group: ProcessGroup = SINGLE_PROCESS,
    remote: bool = False,
) -> Iterator[Session]:
    """Check the experiment with these arms, then lock and claim ``out`` for it; until then nothing is written.

    Of several processes the main one locks, writes and prints.

    Raises:
        UserError: the experiment cannot work, or the folder belongs to another one.
    """
    from i2ikd.callback import NullCallback, combine
    from i2ikd.cli.progress import Display
    from i2ikd.engine.loop import Interrupted
    from i2ikd.experiment.checks import check
    from i2ikd.experiment.context import ExperimentContext
    from i2ikd.experiment.ddp_checks import ddp_checks
    from i2ikd.experiment.folder import claim, locked, refuse_foreign
    from i2ikd.experiment.graph import RunGraph
    from i2ikd.experiment.tracking import HookCallback, tracked
    from i2ikd.registry import default_registry

    console = Console(stderr=quiet_stdout, quiet=not group.is_main)
    refuse_foreign(out, experiment)
    graph = RunGraph(ExperimentContext(experiment, default_registry(), out, group, remote))
    divided = ddp_checks(graph, arms)
    check(graph, arms)

    def log(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    group.barrier()  # every process has checked the folder: now it may change
    with contextlib.ExitStack() as held:
        if group.is_main:
            held.enter_context(locked(out))
            claim(out, experiment)
        group.barrier()
        for line in divided:
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
                click.echo(f"i2ikd: stopped; a checkpoint was saved. Go on with: {command}", err=True)
            group.barrier()  # torchrun ends the others as soon as one of them has ended
            raise click.exceptions.Exit(130) from None


def _launcher(group: ProcessGroup) -> list[str]:
    """Return the words of the command line before the command."""
    if group.size == 1:
        return ["i2ikd"]
    return ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", str(group.size)), "-m", "i2ikd"]
