"""``i2ikd report``: print the table of a finished comparison and rewrite its report."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@click.command("report")
@click.argument("folders", type=click.Path(path_type=Path), metavar="DIR...", nargs=-1, required=True)
@click.option(
    "--by", metavar="COLUMN", help="Sort the arms, best first: a metric, params, macs, bytes, latency_ms, ..."
)
@click.option("--arms", metavar="A,B", help="Show these arms only; ranks and p-values remain those among all arms.")
@click.option(
    "--references", metavar="A,B", help="Print an overview with the differences to these rows, not student and control."
)
@options.trust
@options.as_json
def command(
    folders: tuple[Path, ...], by: str | None, arms: str | None, references: str | None, trust: bool, as_json: bool
) -> None:
    """Print the comparison in the folder DIR (the --out of `compare`) and rewrite DIR/report, without training.

    Of several folders, print an overview: each arm in each comparison, and its mean over the comparisons. Folders of
    one experiment with different seeds, as of several machines, are joined. With --references, the folder may be one.
    """
    chosen, wanted = _names(arms), _names(references)
    if len(folders) == 1 and wanted is None:
        _report(folders[0], by, chosen, trust, as_json)
    elif by is not None:
        raise UserError(
            "--by: expected one folder and no --references, as an overview has the order of --arms; omit it"
        )
    else:
        _overview(folders, chosen, wanted, as_json)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _overview(
    folders: Sequence[Path], arms: Sequence[str] | None, references: Sequence[str] | None, as_json: bool
) -> None:
    from rich.console import Console

    from i2ikd.experiment.overview import make_overview
    from i2ikd.report.load import load_comparison
    from i2ikd.report.overview_table import print_overview

    overview = make_overview([load_comparison(folder) for folder in folders], arms, references)
    if as_json:
        print_json(overview.as_json())
    else:
        print_overview(overview, Console())


def _report(folder: Path, by: str | None, arms: Sequence[str] | None, trust: bool, as_json: bool) -> None:
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
        comparison = only(comparison, arms)
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
