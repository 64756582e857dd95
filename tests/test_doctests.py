"""Examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "i2ikd", *sorted((ROOT / "plugins").glob("i2ikd_*"))]


def modules_with_examples() -> list[str]:
    files = [
        file.relative_to(folder.parent).with_suffix("")
        for folder in FOLDERS
        for file in sorted(folder.rglob("*.py"))
        if "\n    >>> " in file.read_text(encoding="utf-8")
    ]
    return [".".join(file.parts).removesuffix(".__init__") for file in files]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_of(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_core_has_examples() -> None:
    assert {"i2ikd.errors", "i2ikd.taps", "i2ikd.builtin.models.plain"} <= set(modules_with_examples())
