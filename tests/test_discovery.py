"""Discovery of installed plugins: packages with their own entry points, on a process's path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def install(folder: Path, distribution: str, name: str, source: str) -> None:
    """Lay out a package and its metadata as pip would."""
    module = distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    information = folder / f"{module}-0.3.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
    (information / "entry_points.txt").write_text(f"[i2ikd]\n{name} = {module}\n")


def python(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(folder), **environment}
    command = [sys.executable, "-c", "from i2ikd.registry import default_registry\n" + code]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)


WORKING = """
import i2ikd
@i2ikd.hookimpl
def register_models(register):
    register("lab-net", "lab_networks:make", summary="a network of the lab")
def make(width: int = 3):
    return [width]
"""
BROKEN = "import no_such_library\n"
LEAVING = "import sys\nsys.exit('needs a licence')\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    install(tmp_path, "lab-networks", "lab", WORKING)
    install(tmp_path, "bad-luck", "bad", BROKEN)
    return tmp_path


BUILD = "print(default_registry().create('model', 'lab-net', {'width': 5}))\n"


def test_a_broken_package_costs_one_line_and_the_rest_works(site: Path) -> None:
    code = BUILD + "print(default_registry().get('model', 'plain-cnn').plugin.name)\n"
    code += "print([p.problem for p in default_registry().plugins if p.name == 'bad'])\n"
    result = python(site, code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "[5]",
        "builtin",
        "[\"ModuleNotFoundError: No module named 'no_such_library'\"]",
    ]
    assert result.stderr == (
        "i2ikd: the plugin bad (bad-luck 0.3) is broken and not used: "
        "ModuleNotFoundError: No module named 'no_such_library'\n"
    )


def test_a_package_that_ends_the_process_when_imported_is_only_set_aside(tmp_path: Path) -> None:
    install(tmp_path, "lab-networks", "lab", WORKING)
    install(tmp_path, "bad-luck", "bad", LEAVING)
    result = python(tmp_path, BUILD)
    assert (result.returncode, result.stdout) == (0, "[5]\n")
    assert "SystemExit: needs a licence" in result.stderr


def test_provenance_is_that_of_the_distribution(site: Path) -> None:
    result = python(site, "print(default_registry().get('model', 'lab-networks:lab-net').plugin.label)")
    assert result.stdout == "lab (lab-networks 0.3)\n"


def test_strict_stops_at_the_broken_one(site: Path) -> None:
    result = python(site, "default_registry()", I2IKD_STRICT_PLUGINS="1")
    assert result.returncode == 1
    assert result.stderr.endswith("ModuleNotFoundError: No module named 'no_such_library'\n")


def test_disabled_plugins_are_neither_imported_nor_used(site: Path) -> None:
    code = (
        "import sys\n"
        "print({p.name: p.problem for p in default_registry().plugins if p.distribution != 'i2ikd'})\n"
        "print('lab_networks' in sys.modules)\n"
        "try:\n"
        "    default_registry().get('model', 'lab-net')\n"
        "except Exception as error:\n"
        "    print(error, *error.details, file=sys.stderr)\n"
    )
    result = python(site, code, I2IKD_DISABLE_PLUGINS=" bad,lab")
    reason = "blocked by I2IKD_DISABLE_PLUGINS"
    assert result.stdout.splitlines() == [str({"bad": reason, "lab": reason}), "False"]
    assert "is broken" not in result.stderr
    assert "unknown model 'lab-net'" in result.stderr
    assert f"the plugin lab (lab-networks 0.3) is not in use: {reason}" in result.stderr
