"""``i2ikd new-plugin``: the skeleton of a plugin package that works as written."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from string import Template

import click

from i2ikd.errors import UserError
from i2ikd.registry import default_registry

_SUFFIX = ".template"


def skeleton(name: str) -> dict[PurePosixPath, str]:
    """Return the files of a new plugin, by their paths in its folder.

    Args:
        name: of the distribution and of the plugin, such as ``my-lab``; the package is then ``my_lab``.

    Raises:
        UserError: a name that cannot be one, or that something installed has.
    """
    package = package_of(name)
    root = resources.files("i2ikd.cli").joinpath("skeleton")
    files = {}
    for path, file in _walk(root, PurePosixPath()):
        written = PurePosixPath(*(part.replace("package", package) for part in path.parts))
        text = Template(file.read_text(encoding="utf-8")).substitute(name=name, package=package)
        files[written.with_name(written.name.removesuffix(_SUFFIX))] = text
    return files


def package_of(name: str) -> str:
    """Return the name of the Python package for a plugin's name.

    Raises:
        UserError: see ``skeleton``.

    >>> package_of("lab-of-ours")
    'lab_of_ours'
    """
    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(package):
        raise UserError(
            f"{name!r} is no name for a plugin: it is lower-case words of letters and digits with '-' between, such as "
            "my-lab, and no word of Python's own"
        )
    for plugin in default_registry().plugins:
        if name in (plugin.name, plugin.distribution):
            raise UserError(f"there is a plugin {plugin.label} already; choose another name than {name!r}")
    if importlib.util.find_spec(package) is not None:
        raise UserError(f"there is a Python package {package!r} already, which a plugin {name!r} would hide")
    return package


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _walk(item, path / item.name)
        elif item.name.endswith(_SUFFIX):
            yield path / item.name, item


@click.command("new-plugin")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to write; ./NAME unless given.")
def command(name: str, out: Path | None) -> None:
    """Write the skeleton of a plugin package NAME: a task, a model, a distiller and a metric that work, with tests."""
    from i2ikd.files import write_atomically

    files = skeleton(name)
    folder = out or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; nothing is written over: give another --out")
    if not folder.resolve().parent.is_dir():
        raise UserError(f"there is no folder {folder.resolve().parent}")
    for path, text in sorted(files.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / path, text)
    click.echo(f"{folder}: {len(files)} files. Next: pip install -e '{folder}[dev]' && pytest {folder}")
