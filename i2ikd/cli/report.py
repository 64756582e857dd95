"""``i2ikd report``: print the table of a finished comparison and rewrite its report."""

from __future__ import annotations

import json
from pathlib import Path

import click

from i2ikd.cli import options


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--by", metavar="COLUMN", help="Sort the arms: a metric, params, latency_ms, gap_closed, ...; best first."
)
@click.option("--arms", metavar="A,B", help="Show these arms only; ranks and p-values remain those among all arms.")
@options.as_json
def command(folder: Path, by: str | None, arms: str | None, as_json: bool) -> None:
    """Print the comparison in the folder DIR (the --out of `compare`) and rewrite DIR/report, without training."""
    from rich.console import Console

    from i2ikd.report.load import load_comparison
    from i2ikd.report.select import only, sorted_by
    from i2ikd.report.table import print_comparison
    from i2ikd.report.write import write_report

    comparison = load_comparison(folder)
    if arms is not None:
        comparison = only(comparison, [name.strip() for name in arms.split(",") if name.strip()])
    if by is not None:
        comparison = sorted_by(comparison, by)
    files = write_report(comparison, folder)
    if as_json:
        click.echo(json.dumps(comparison.as_json(), indent=1, ensure_ascii=False))
    else:
        print_comparison(comparison, Console())
    click.echo("written: " + ", ".join(str(file) for file in files), err=as_json)
