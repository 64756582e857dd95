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
from i2ikd.engine.group import ALONE, Group

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
def working(
    experiment: Experiment,
    out: Path,
    arms: Sequence[Arm],
    quiet_stdout: bool = False,
    group: Group = ALONE,
    elsewhere: bool = False,
) -> Iterator[Session]:
    """Check the experiment with these arms, then lock and claim ``out`` for it; until then nothing is written.

    Of several processes the first one locks, writes and speaks.

    Raises:
        UserError: the experiment cannot work, or the folder is another's.
    """
    from i2ikd.cli.progress import Display
    from i2ikd.compare.folder import claim, locked, refuse_foreign
    from i2ikd.compare.shares import shares
    from i2ikd.compare.tracking import tracked
    from i2ikd.compare.workbench import Workbench
    from i2ikd.engine.loop import Interrupted, Silence
    from i2ikd.plugins import default_host

    console = Console(stderr=quiet_stdout, quiet=not group.leads)
    refuse_foreign(out, experiment)
    bench = Workbench(experiment, default_host(), out, group, elsewhere)
    divided = shares(bench, arms)
    bench.check(arms)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    group.wait()  # all have looked at the folder: now it may change
    with contextlib.ExitStack() as held:
        if group.leads:
            held.enter_context(locked(out))
            claim(out, experiment)
        group.wait()
        for line in divided:
            say(line)
        shown, trackers = (Display(console), experiment.trackers) if group.leads else (Silence(), [])
        try:
            with tracked(shown, trackers, bench.host) as watcher:
                yield Session(bench, console, watcher, say)
        except Interrupted:
            if group.leads:
                command = shlex.join([*_started_by(group), *sys.argv[1:]])
                click.echo(f"i2ikd: stopped; a checkpoint was saved. Go on with: {command}", err=True)
            group.wait()  # torchrun ends the others as soon as one of them has ended
            raise click.exceptions.Exit(130) from None


def _started_by(group: Group) -> list[str]:
    """Words of the command line that come before the command."""
    if group.size == 1:
        return ["i2ikd"]
    return ["torchrun", "--nproc-per-node", os.environ.get("LOCAL_WORLD_SIZE", str(group.size)), "-m", "i2ikd"]
