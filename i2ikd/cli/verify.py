"""``i2ikd verify``: compare every file of a store with the checksums in its manifests."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@options.as_json
def command(folder: Path, as_json: bool) -> None:
    """Compare the files in DIR (the --out of `compare`, or a run) with their manifests; nothing is written.

    Weights, histories, scores, results, the report and the teacher cache are read once. Exit code 2 if one differs.
    """
    from i2ikd.experiment.verify import verify

    found = verify(folder)
    if as_json:
        rows = [{"file": str(problem.file), "problem": problem.problem} for problem in found.problems]
        unstated = [str(path) for path in found.unstated]
        print_json({"files": found.files, "problems": rows, "without_checksums": unstated})
    else:
        for problem in found.problems:
            click.echo(f"{problem.file}: {problem.problem}")
        for path in found.unstated:
            click.echo(f"{path}: no checksums, as an older version wrote it; `i2ikd compare` adds them")
    if found.problems:
        count = len({problem.file for problem in found.problems})
        raise UserError(
            f"{folder}: {count} {'file differs' if count == 1 else 'files differ'} from what its manifests state; "
            "`i2ikd compare` makes scores and results anew, weights have to be restored or trained again"
        )
    if not as_json:
        click.echo(f"{found.files} files are as their manifests state")
