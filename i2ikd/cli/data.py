"""``i2ikd data``: print what the data of an experiment holds, how it was divided, and what was passed over."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json


@click.command("data")
@options.experiment_file
@options.overrides
@options.as_json
def command(experiment: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print subjects, volumes, slices, sizes, types and values of each split, what was passed over, what is simulated.

    Data that is ambiguous is refused with the option that resolves it. Nothing is trained or written.
    """
    from i2ikd.experiment.context import create_task, simulated_lines
    from i2ikd.registry import default_registry

    # the task alone: data is inspected whether or not this machine has the device of the experiment
    task = create_task(options.load_experiment(experiment, overrides), default_registry())
    inventory, simulated = task.inventory(), simulated_lines(task)
    if as_json:
        print_json({**inventory.as_json(), "simulated": [line.partition(": ")[2] for line in simulated]})
    else:
        for line in (*inventory.lines(), *simulated):
            click.echo(line)
