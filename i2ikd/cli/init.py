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
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Write an experiment for this data and this machine."
)
@click.option("--hours", type=float, metavar="N", help="With --data, the time that the comparison may take.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(file: Path, task: str | None, data: Path | None, hours: float | None, force: bool) -> None:
    """Write a commented example experiment to FILE (default: experiment.toml).

    With --data and --hours, its task, split, networks, epochs and seeds fit the data and the time: a few steps are
    measured, and the reasons are comments.
    """
    from i2ikd.files import write_atomically

    if (data is None) != (hours is None):
        raise UserError("expected --data DIR and --hours N together, got one of them; state both")
    if data is None or hours is None:
        name, text = packaged_experiment(task, "template")
    else:
        name, text = "", ""
    if file.exists() and not force:
        raise UserError(f"{file} exists already; overwrite it with --force, or choose another file")
    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist; create it first")
    if data is not None and hours is not None:
        _write_proposal(file, data, hours, task)
        return
    write_atomically(file, text)
    click.echo(f"{file}: experiment for {name}. Set its data folder, then run: i2ikd compare {file} --out runs/first")


def _write_proposal(file: Path, data: Path, hours: float, task: str | None) -> None:
    """Write the experiment that fits the data and the time."""
    from i2ikd.engine.device import keep_large_blocks
    from i2ikd.experiment.proposal import propose
    from i2ikd.files import write_atomically
    from i2ikd.progress import in_words

    registry = default_registry()
    known = [c.name for c in registry.components("task") if "template" in c.metadata]
    names = [task] if task is not None else sorted(known, key=lambda name: (name != "pairs", "multi" in name, name))
    keep_large_blocks()
    found = propose(data, hours, {name: packaged_experiment(name, "template")[1] for name in names}, registry)
    write_atomically(file, found.text)
    click.echo(
        f"{file}: experiment for {found.task}, about {in_words(found.seconds)}. Read it, then run: "
        f"i2ikd compare {file} --out runs/first"
    )
