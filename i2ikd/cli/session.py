"""A command at work in an output folder: the folder is claimed and locked, and an interruption says how to go on."""

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
    from i2ikd.engine.loop import Callback
    from i2ikd.experiment.context import ExperimentContext


@dataclass
class Session:
    """What a command that trains works with."""

    context: ExperimentContext
    console: Console
    """Where progress and messages go: stderr when stdout carries JSON."""
    callback: Callback
    say: Callable[[str], None]


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

    Of several processes the first one locks, writes and speaks.

    Raises:
        UserError: the experiment cannot work, or the folder is another's.
    """
    from i2ikd.cli.progress import Display
    from i2ikd.engine.loop import Interrupted, NullCallback
    from i2ikd.experiment.context import ExperimentContext
    from i2ikd.experiment.ddp_checks import shares
    from i2ikd.experiment.folder import claim, locked, refuse_foreign
    from i2ikd.experiment.tracking import tracked
    from i2ikd.registry import default_registry

    console = Console(stderr=quiet_stdout, quiet=not group.is_main)
    refuse_foreign(out, experiment)
    context = ExperimentContext(experiment, default_registry(), out, group, remote)
    divided = shares(context, arms)
    context.check(arms)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    group.barrier()  # all have looked at the folder: now it may change
    with contextlib.ExitStack() as held:
        if group.is_main:
            held.enter_context(locked(out))
            claim(out, experiment)
        group.barrier()
        for line in divided:
            say(line)
        shown, trackers = (Display(console), experiment.trackers) if group.is_main else (NullCallback(), [])
        try:
            with tracked(shown, trackers, context.registry) as callback:
                yield Session(context, console, callback, say)
        except Interrupted:
            if group.is_main:
                command = shlex.join([*_started_by(group), *sys.argv[1:]])
                click.echo(f"i2ikd: stopped; a checkpoint was saved. Go on with: {command}", err=True)
            group.barrier()  # torchrun ends the others as soon as one of them has ended
            raise click.exceptions.Exit(130) from None


def _started_by(group: ProcessGroup) -> list[str]:
    """Words of the command line that come before the command."""
    if group.size == 1:
        return ["i2ikd"]
    return ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", str(group.size)), "-m", "i2ikd"]
