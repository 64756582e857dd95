"""Experiments that are packaged with i2ikd: the files of ``examples/experiments``, copied with their bases."""

from __future__ import annotations

import tomllib
from pathlib import Path

import i2ikd
from i2ikd.errors import UserError, nearest
from i2ikd.files import write_atomically

_FOLDER = "examples/experiments"


def example_folder() -> Path:
    """Return the folder of the packaged experiments.

    A wheel has them in ``i2ikd/experiments`` (``force-include`` in pyproject.toml), a checkout in
    ``examples/experiments``.

    Raises:
        UserError: the installation has neither.
    """
    package = Path(i2ikd.__file__).parent
    for folder in (package / "experiments", package.parent / _FOLDER):
        if folder.is_dir():
            return folder
    raise UserError(f"expected example experiments in {package / 'experiments'}, got none; install i2ikd again")


def example_names() -> list[str]:
    """Return the names of the packaged experiments."""
    return sorted(file.stem for file in example_folder().glob("*.toml"))


def write_example(name: str, file: Path, force: bool) -> list[Path]:
    """Copy a packaged experiment and the experiments that it inherits from.

    Args:
        name: one of ``example_names``.
        file: file to write; bases are written to its folder with their own names.
        force: whether existing files are overwritten; a base that has the same text is left as it is.

    Returns:
        The written files, the experiment first.

    Raises:
        UserError: an unknown name, or a file that exists with other content.
    """
    known = example_names()
    if name not in known:
        raise UserError(f"unknown example {name!r}; {nearest(name, known)}; all: {', '.join(known)}")
    source = example_folder() / f"{name}.toml"
    texts = {file: _of_file(source, file)}
    while base := tomllib.loads(source.read_text("utf-8")).get("base"):
        source = example_folder() / base
        if file.name == base:
            raise UserError(f"{file}: {name!r} inherits from a file of this name; choose another name")
        texts[file.parent / base] = source.read_text("utf-8")
    for path, text in texts.items():
        other = path.exists() and (path == file or path.read_text("utf-8") != text)
        if other and not force:
            raise UserError(f"{path} exists already; overwrite it with --force, or choose another folder")
    for path, text in texts.items():
        write_atomically(path, text)
    return list(texts)


def _of_file(source: Path, file: Path) -> str:
    """Return the text of an experiment whose commands, in its comments, name another file."""
    lines = source.read_text("utf-8").splitlines(keepends=True)
    named = f"{_FOLDER}/{source.name}"
    return "".join(line.replace(named, str(file)) if line.startswith("#") else line for line in lines)
