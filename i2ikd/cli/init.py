"""``i2ikd init``: a commented experiment to start from, as the task's plugin ships it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from i2ikd.errors import UserError, nearest
from i2ikd.registry import default_registry


def shipped(task: str | None, entry_: str) -> tuple[str, str]:
    """Return (task, text) of the file that a task's plugin ships under a fact (``template``, ``demo``).

    Raises:
        UserError: no such task, or none that ships one.
    """
    offering = {c.name: c for c in default_registry().components("task") if entry_ in c.metadata}
    if not offering:
        raise UserError(f"no installed task ships a {entry_}; `i2ikd plugins` shows what is in use")
    name = task or next(iter(offering))
    if name not in offering:
        raise UserError(f"the task {name!r} ships no {entry_}; {nearest(name, offering)}")
    package, _, file = offering[name].metadata[entry_].partition(":")
    return name, resources.files(package).joinpath(file).read_text(encoding="utf-8")


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default="experiment.toml")
@click.option("--task", metavar="NAME", help="For which task; `i2ikd list tasks` shows them.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
def command(file: Path, task: str | None, force: bool) -> None:
    """Write a commented experiment to FILE (experiment.toml)."""
    from i2ikd.files import write_atomically

    name, text = shipped(task, "template")
    if file.exists() and not force:
        raise UserError(f"{file} exists; --force writes over it, or give another file")
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}")
    write_atomically(file, text)
    click.echo(f"{file}: an experiment for {name}. Set its data folder, then: i2ikd compare {file} --out runs/first")
