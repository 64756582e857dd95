"""Program that runs the tests and the commands of installed packages; its argument is JSON of ``conftest.Tried``."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from pathlib import Path
from unittest import mock

import pytest

from i2ikd.cli.main import run


def main(text: str) -> int:
    """Return 0 if everything succeeds."""
    here = Path.cwd()
    for package in json.loads(text):
        assert str(importlib.import_module(package["name"]).__file__).startswith(os.environ["PYTHONPATH"])
        figures = mock.patch("i2ikd.report.write.render_figures", lambda *_: [])
        folder = here / package["name"]
        folder.mkdir(exist_ok=True)
        with contextlib.chdir(folder), contextlib.nullcontext() if package["figures"] else figures:
            failed = pytest.main(["-p", "no:cacheprovider", package["tests"]])
            if failed or any(run(command) for command in package["commands"]):
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
