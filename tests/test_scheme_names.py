"""The core knows no scheme: it contains none of the names that ``i2ikd_schemes`` registers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import i2ikd

CORE = Path(i2ikd.__file__).parent
NAMES = sorted(
    component.name
    for kind in i2ikd.default_registry().kinds
    for component in i2ikd.default_registry().components(kind)
    if component.plugin.name == "schemes"
)


def test_there_are_names() -> None:
    assert {"block-grafting", "student-friendly", "collapsible", "recommended", "grafting"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_of_the_core_contains_the_name_of_a_scheme(name: str) -> None:
    forms = (name, name.replace("-", "_"), name.title().replace("-", ""))
    word = re.compile("|".join(rf"(?<![\w-]){re.escape(form)}(?![\w-])" for form in forms))
    found = [
        f"{file.relative_to(CORE)}:{number}"
        for file in sorted(CORE.rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if word.search(line)
    ]
    assert found == []
