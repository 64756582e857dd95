"""``i2ikd new-plugin``: write the skeleton of a plugin package that runs without changes."""

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
    """Generate the files of a new plugin.

    Args:
        name: name of distribution and plugin, such as ``my-lab``; the package is then ``my_lab``.

    Returns:
        File contents by path relative to the plugin's folder.

    Raises:
        UserError: an invalid name, or the name of an installed plugin, distribution or package.
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
    """Return the Python package name of a plugin.

    Args:
        name: lower-case words of letters and digits, joined by ``-``.

    Raises:
        UserError: see ``skeleton``.

    >>> package_of("example-lab")
    'example_lab'
    """
    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(package):
        raise UserError(
            f"plugin name: expected lower-case words of letters and digits joined by '-', such as my-lab, and no "
            f"Python keyword, got {name!r}"
        )
    for plugin in default_registry().plugins:
        if name in (plugin.name, plugin.distribution):
            raise UserError(f"plugin name {name!r} is used by the installed {plugin.label}; choose another name")
    if importlib.util.find_spec(package) is not None:
        raise UserError(
            f"plugin name {name!r} would hide the installed Python package {package!r}; choose another name"
        )
    return package


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    """Yield the templates below a folder with their relative paths."""
    for item in folder.iterdir():
        if item.is_dir():
            yield from _walk(item, path / item.name)
        elif item.name.endswith(_SUFFIX):
            yield path / item.name, item


@click.command("new-plugin")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write; default: ./NAME.")
def command(name: str, out: Path | None) -> None:
    """Write the skeleton of a plugin package NAME: a working task, model, distiller and metric, with tests."""
    from i2ikd.files import write_atomically

    files = skeleton(name)
    folder = out or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder; choose another --out")
    if not folder.resolve().parent.is_dir():
        raise UserError(f"the folder {folder.resolve().parent} does not exist; create it first")
    for path, text in sorted(files.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / path, text)
    click.echo(f"{folder}: {len(files)} files. Next: pip install -e '{folder}[dev]' && pytest {folder}")
