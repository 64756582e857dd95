"""Result of a command as JSON: stdout belongs to it alone, and everything else that is printed goes to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import click

from i2ikd.errors import UserError, printable

_reserved: list[TextIO] = []
"""The stream of the result while stdout is reserved."""


@contextlib.contextmanager
def reserved_stdout() -> Iterator[None]:
    """Redirect what this process prints to stderr, libraries and subprocesses included, except ``print_json``."""
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise UserError("--json: stdout is closed; redirect it to a file")
    stdout.flush()
    with contextlib.ExitStack() as resources:
        saved = os.dup(1)
        resources.callback(os.close, saved)
        own = _descriptor(stdout) == 1  # otherwise a stream in memory, or a file
        stream = resources.enter_context(os.fdopen(os.dup(saved), "w", encoding="utf-8")) if own else stdout
        os.dup2(2, 1)
        resources.callback(os.dup2, saved, 1)
        _reserved.append(stream)
        resources.callback(_reserved.pop)
        resources.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def print_json(value: Any) -> None:
    """Print a command's result as JSON on stdout.

    Args:
        value: JSON-able; bytes of file names that are not UTF-8 are written as escapes.
    """
    click.echo(printable(json.dumps(value, indent=1, ensure_ascii=False)), file=_reserved[-1] if _reserved else None)
