"""What is imported when: a command that trains nothing must not pay for torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"torch", "timm", "torchvision", "matplotlib", "scipy", "skimage", "h5py", "nibabel", "jinja2"}


def packages_after(code: str) -> tuple[set[str], int]:
    """Top-level packages, and the number of modules, that a fresh process has imported."""
    report = "; import sys, json; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-c", code + report]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    modules = json.loads(found.stdout.splitlines()[-1])
    return {module.partition(".")[0] for module in modules}, len(modules)


@pytest.mark.parametrize(
    ("code", "most_modules"),
    [
        ("import i2ikd", 150),
        ("import i2ikd.hookspecs", 150),
        ("import i2ikd.recipe", 450),
        ("from i2ikd.registry import default_registry; default_registry()", 450),
        ("from i2ikd.registry import default_registry; default_registry().components('model')", 450),
    ],
)
def test_is_cheap(code: str, most_modules: int) -> None:
    packages, modules = packages_after(code)
    assert packages & (HEAVY | {"numpy"}) == set()
    assert "pydantic" not in packages or "recipe" in code
    assert modules < most_modules


def test_a_name_from_the_package_brings_only_what_it_needs() -> None:
    packages, _ = packages_after("import i2ikd; i2ikd.Stage, i2ikd.UserError, i2ikd.hookimpl")
    assert packages & HEAVY == set()
    packages, _ = packages_after("import i2ikd; i2ikd.Batch")
    assert packages & HEAVY == {"torch"}


def test_every_public_name_is_there() -> None:
    import i2ikd

    assert sorted(i2ikd.__all__) == list(i2ikd.__all__)
    for name in i2ikd.__all__:
        assert getattr(i2ikd, name) is not None


def test_every_module_is_imported_without_fcntl() -> None:
    """``fcntl`` is missing on Windows."""
    code = (
        "import sys, pkgutil, importlib\n"
        "sys.modules['fcntl'] = None\n"
        "import filelock, i2ikd\n"
        "names = [m.name for m in pkgutil.walk_packages(i2ikd.__path__, 'i2ikd.')]\n"
        "for name in names:\n"
        "    if not name.endswith('__main__'): importlib.import_module(name)\n"
        "print(len(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
