"""A command at work in an output folder: the folder is claimed and locked, and an interruption says how to go on."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from i2ikd.config import Arm, Experiment

if TYPE_CHECKING:
    from i2ikd.compare.workbench import Workbench
    from i2ikd.engine.loop import Watcher


@dataclass
class Session:
    """What a command that trains works with."""

    bench: Workbench
    console: Console
    """Where progress and messages go: stderr when stdout carries JSON."""
    watcher: Watcher
    say: Callable[[str], None]


@contextlib.contextmanager
def working(experiment: Experiment, out: Path, arms: Sequence[Arm], quiet_stdout: bool = False) -> Iterator[Session]:
    """Check the experiment with these arms, then lock and claim ``out`` for it; until then nothing is written.

    Raises:
        UserError: the experiment cannot work, or the folder is another's.
    """
    from i2ikd.cli.progress import Display
    from i2ikd.compare.folder import claim, locked, refuse_foreign
    from i2ikd.compare.tracking import tracked
    from i2ikd.compare.workbench import Workbench
    from i2ikd.engine.loop import Interrupted
    from i2ikd.plugins import default_host

    console = Console(stderr=quiet_stdout)
    refuse_foreign(out, experiment)
    bench = Workbench(experiment, default_host(), out)
    bench.check(arms)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    with locked(out):
        claim(out, experiment)
        try:
            with tracked(Display(console), experiment.trackers, bench.host) as watcher:
                yield Session(bench, console, watcher, say)
        except Interrupted:
            command = shlex.join(["i2ikd", *sys.argv[1:]])
            click.echo(f"i2ikd: stopped; a checkpoint was saved. Go on with: {command}", err=True)
            raise click.exceptions.Exit(130) from None
