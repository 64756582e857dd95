"""``i2ikd init``: write the commented example experiment of a task."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from i2ikd.errors import UserError, nearest
from i2ikd.registry import default_registry


def packaged_experiment(task: str | None, key: str) -> tuple[str, str]:
    """Read the example experiment that is packaged with a task.

    Args:
        task: registered name; ``None``: the first task that has a demo too, or else the first with such a file.
        key: entry of the task's metadata that names the file: ``template`` or ``demo``.

    Returns:
        The task's name and the file's text.

    Raises:
        UserError: no such task, or no task with such a file.
    """
    tasks = {c.name: c for c in default_registry().components("task") if key in c.metadata}
    if not tasks:
        raise UserError(f"no installed task provides a {key}; `i2ikd plugins` lists the plugins")
    name = task or next((name for name, found in tasks.items() if "demo" in found.metadata), next(iter(tasks)))
    if name not in tasks:
        raise UserError(f"the task {name!r} provides no {key}; {nearest(name, tasks)}")
    package, _, file = tasks[name].metadata[key].partition(":")
    return name, resources.files(package).joinpath(file).read_text(encoding="utf-8")


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default="experiment.toml")
@click.option("--task", metavar="NAME", help="Task of the experiment; see `i2ikd list tasks`.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(file: Path, task: str | None, force: bool) -> None:
    """Write a commented example experiment to FILE (default: experiment.toml)."""
    from i2ikd.files import write_atomically

    name, text = packaged_experiment(task, "template")
    if file.exists() and not force:
        raise UserError(f"{file} exists already; overwrite it with --force, or choose another file")
    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist; create it first")
    write_atomically(file, text)
    click.echo(f"{file}: experiment for {name}. Set its data folder, then run: i2ikd compare {file} --out runs/first")
