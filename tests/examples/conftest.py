"""Plugin packages built as wheels and installed into a folder of their own, beside the environment, as pip does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from i2ikd.cli.main import run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Site:
    """A folder with the example plugins and a freshly written ``new-plugin``, installed."""

    packages: Path
    denoising: Path
    """Source of the denoising plugin."""
    assistant: Path
    """Source of the assistant plugin."""
    skeleton: Path
    """Source of what ``i2ikd new-plugin fresh-lab`` wrote."""

    def python(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run Python with these packages on its path."""
        variables = {**os.environ, "PYTHONPATH": str(self.packages), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, env=variables, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)

    def i2ikd(self, *arguments: object, cwd: Path) -> str:
        """Run a command of ``i2ikd``, which must succeed and say nothing on stderr; return its stdout."""
        found = self.python("-c", "from i2ikd.cli.main import main; main()", *arguments, cwd=cwd)
        assert (found.returncode, found.stderr) == (0, ""), (found.stdout, found.stderr)
        return found.stdout

    def tests_and_commands(self, package: str, tests: Path, *commands: list[object], cwd: Path) -> None:
        """Run a package's own tests on what is installed, and then commands, in one process; all must succeed."""
        code = (
            f"import json, pytest, sys, {package}\n"
            f"assert {package}.__file__.startswith({str(self.packages)!r})\n"
            "from i2ikd.cli.main import run\n"
            "failed = pytest.main(['-p', 'no:cacheprovider', sys.argv[1]])\n"
            "sys.exit(failed or max(run(command) for command in json.loads(sys.argv[2])))\n"
        )
        written = json.dumps([[str(part) for part in command] for command in commands])
        found = self.python("-c", code, tests, written, cwd=cwd)
        assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    skeleton, examples = folder / "fresh-lab", ROOT / "examples"
    denoising, assistant = examples / "denoising_plugin", examples / "assistant_plugin"
    assert run(["new-plugin", "fresh-lab", "--out", str(skeleton)]) == 0
    _pip("wheel", "--no-build-isolation", "--wheel-dir", folder / "wheels", denoising, assistant, skeleton)
    _pip("install", "--target", folder / "packages", *(folder / "wheels").glob("*.whl"))
    return Site(folder / "packages", denoising, assistant, skeleton)


def _pip(command: str, *arguments: object) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    line = [sys.executable, "-m", "pip", command, *quiet, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
