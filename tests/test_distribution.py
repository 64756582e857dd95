"""What a wheel and an sdist hold: packages with their type markers, and everything that the tests need."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    Path(name).name
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "I2IKD_REPOSITORY": "https://example.org/owner/name.git"},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


def test_every_package_of_the_wheel_is_marked_as_typed(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_wheel_holds_the_example_experiments(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        packaged = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("i2ikd/experiments/")}
    files = list((ROOT / "examples/experiments").glob("*.toml"))
    assert packaged == {f"i2ikd/experiments/{file.name}": file.read_bytes() for file in files}


@pytest.mark.skipif((ROOT / "PKG-INFO").is_file(), reason="an sdist keeps the metadata that it was made with")
def test_the_metadata_names_the_repository_that_built_it(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        metadata = email.message_from_bytes(wheel.read("i2ikd-0.1.0.dist-info/METADATA"))
    addresses = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert addresses["Source"] == "https://example.org/owner/name"
    assert addresses["Issues"] == "https://example.org/owner/name/issues"
    assert set(addresses) == {"Source", "Issues", "Changelog", "Documentation", "Paper"}


def test_the_sdist_holds_what_the_tests_read(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {str(Path(*Path(name).parts[1:])) for name in sdist.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    assert set(tracked.stdout.splitlines()) <= names
