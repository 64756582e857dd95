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
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--task", metavar="NAME", help="Task of the experiment; see `i2ikd list tasks`.")
@click.option(
    "--example", metavar="NAME", help="Experiment of examples/experiments, with the files that it inherits from."
)
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Write an experiment for this data and this machine."
)
@click.option("--hours", type=float, metavar="N", help="With --data, the time that the comparison may take.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def command(
    file: Path | None, task: str | None, example: str | None, data: Path | None, hours: float | None, force: bool
) -> None:
    """Write a commented experiment to FILE (default: experiment.toml, or NAME.toml of an example).

    With --data and --hours, its task, split, networks, epochs and seeds fit the data and the time: a few steps are
    measured, and the reasons are comments.
    """
    from i2ikd.files import write_atomically

    if example is not None:
        if task is not None or data is not None:
            other = "--task" if data is None else "--data"
            raise UserError(f"init: expected {other} or --example, got both; an example states its task and data")
        _copy_example(example, file or Path(f"{example}.toml"), force)
        return
    file = file or Path("experiment.toml")
    if (data is None) != (hours is None):
        raise UserError("expected --data DIR and --hours N together, got one of them; state both")
    content = None if data is not None else packaged_experiment(task, "template")
    if file.exists() and not force:
        raise UserError(f"{file} exists already; overwrite it with --force, or choose another file")
    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist; create it first")
    if content is None:
        assert data is not None and hours is not None
        _write_proposal(file, data, hours, task)
        return
    name, text = content
    write_atomically(file, text)
    click.echo(f"{file}: experiment for {name}. Set its data folder, then run: i2ikd compare {file} --out runs/first")


def _copy_example(name: str, file: Path, force: bool) -> None:
    """Write a packaged experiment with its bases, and print the next command."""
    from i2ikd.cli.examples import write_example

    if not file.parent.is_dir():
        raise UserError(f"the folder {file.parent} does not exist; create it first")
    _, *bases = write_example(name, file, force)
    inherited = f", inherits from {', '.join(base.name for base in bases)}" if bases else ""
    click.echo(f"{file}: example {name}{inherited}. Run: i2ikd compare {file} --out runs/{name}")


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
