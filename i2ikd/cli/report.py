"""``i2ikd report``: print the table of a finished comparison and rewrite its report."""

from __future__ import annotations

import errno
from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--by", metavar="COLUMN", help="Sort the arms, best first: a metric, params, macs, bytes, latency_ms, ..."
)
@click.option("--arms", metavar="A,B", help="Show these arms only; ranks and p-values remain those among all arms.")
@options.trust
@options.as_json
def command(folder: Path, by: str | None, arms: str | None, trust: bool, as_json: bool) -> None:
    """Print the comparison in the folder DIR (the --out of `compare`) and rewrite DIR/report, without training."""
    from rich.console import Console

    from i2ikd.report.legend import import_metrics
    from i2ikd.report.load import load_comparison
    from i2ikd.report.select import only, sorted_by
    from i2ikd.report.table import print_comparison
    from i2ikd.report.write import write_report

    comparison = load_comparison(folder)
    if trust:
        import_metrics(comparison)
    if arms is not None:
        comparison = only(comparison, [name.strip() for name in arms.split(",") if name.strip()])
    if by is not None:
        comparison = sorted_by(comparison, by)
    try:
        written = "written: " + ", ".join(str(file) for file in write_report(comparison, folder))
    except UserError as error:
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in _READ_ONLY):
            raise
        written = f"the report is not written, as the folder is read-only: {error}"
    if as_json:
        print_json(comparison.as_json())
    else:
        print_comparison(comparison, Console())
    click.echo(written, err=as_json)
