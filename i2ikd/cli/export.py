"""``i2ikd export``: write a trained network in a deployment format."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.errors import UserError


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File to write.")
@click.option(
    "--format", "name", default="torch-export", show_default=True, help="Exporter; see `i2ikd list exporters`."
)
@options.trust
@options.overrides
def command(run: Path, output: Path, name: str, trust: bool, overrides: tuple[str, ...]) -> None:
    """Export the network in the folder RUN (e.g. runs/brain-4x/students/kd-mri/seed0), traced with a test slice."""
    from i2ikd.experiment.finished import context_of, finished_network

    if output.exists():
        raise UserError(f"{output} exists already; choose another file")
    if not output.resolve().parent.is_dir():
        raise UserError(f"the folder {output.resolve().parent} does not exist; create it first")
    context = context_of(run, None, overrides, trust)
    exporter = context.registry.get("exporter", name).resolve()
    exporter(finished_network(context.registry, run, context.experiment), context.example(), output)
    click.echo(f"{output}: {output.stat().st_size / 2**20:.2f} MiB, {name}")
