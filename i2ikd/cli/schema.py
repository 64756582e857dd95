"""``i2ikd schema``: print the JSON schema of experiment files, for editors."""

from __future__ import annotations

import click

from i2ikd.cli.result import print_json
from i2ikd.registry import default_registry


@click.command("schema")
def command() -> None:
    """Print the JSON schema of experiment files, with the options of every registered component.

    Write it to a file, `i2ikd schema > experiment.schema.json`, and name it in the first line of an experiment:
    #:schema ./experiment.schema.json (Even Better TOML, taplo).
    """
    from i2ikd.experiment.schema import experiment_schema

    print_json(experiment_schema(default_registry()))
