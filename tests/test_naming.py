"""House rules that ruff cannot hold: lengths of files, and names of files and components."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from i2ikd.component import Component
from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.registry import default_registry

ROOT = Path(__file__).parents[1]
SOURCES = [
    file
    for folder in ("i2ikd", "plugins", "tests", "examples", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
SHIPPED = [file for file in SOURCES if file.relative_to(ROOT).parts[0] in ("i2ikd", "plugins")]
OURS = [
    component
    for kind in default_registry().kinds
    for component in default_registry().components(kind)
    if component.plugin.distribution == "i2ikd"
]
NOT_BUILT = {"pairs", "figure", "command"}
"""Kinds whose components are called, not built from options."""


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", SOURCES, ids=relative)
def test_a_file_is_short(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("file", SHIPPED, ids=relative)
def test_a_file_is_named_after_its_one_idea(file: Path) -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "tools"}
    assert file.stem not in vague
    assert not vague & set(file.parent.relative_to(ROOT).parts)


@pytest.mark.parametrize("component", OURS, ids=lambda component: f"{component.kind}-{component.name}")
class TestEveryComponentThatIsShipped:
    def test_is_named_in_lower_case_words_and_summed_up(self, component: Component) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", component.name)
        assert 10 < len(component.summary) <= 110

    def test_exists_and_refuses_an_option_that_it_does_not_have(self, component: Component) -> None:
        target = component.resolve()
        if component.kind not in NOT_BUILT:
            with pytest.raises(UserError, match=r"^here: .*(is missing|unknown option 'no_such_option')"):
                check(target, {"no_such_option": 1}, "here")
