"""House rules that a machine can hold: names of files and components, lengths, first lines."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.registry import KINDS, Component, default_registry

ROOT = Path(__file__).parents[1]
SOURCES = [
    file
    for folder in ("i2ikd", "plugins", "tests", "examples", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
SHIPPED = [file for file in SOURCES if file.relative_to(ROOT).parts[0] in ("i2ikd", "plugins")]
OURS = [
    component
    for kind in KINDS
    for component in default_registry().components(kind)
    if component.plugin.distribution == "i2ikd"
]

BUILT_FROM_OPTIONS = {"model", "task", "dataset", "mask", "distiller", "recipe", "metric", "tracker"}


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", SOURCES, ids=relative)
def test_a_file_is_short_and_has_nothing_left_to_do(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    if file != Path(__file__):
        assert re.search(r"\b(TODO|FIXME|XXX)\b", text) is None
    assert re.search(r"# type: ignore(?!\[)", text) is None or file == Path(__file__)


@pytest.mark.parametrize("file", SHIPPED, ids=relative)
def test_a_file_is_named_after_its_one_idea_and_says_which(file: Path) -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "base", "tools"}
    assert file.stem not in vague
    assert not vague & set(file.parent.relative_to(ROOT).parts)
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring is not None
    first = docstring.splitlines()[0]
    assert len(first) > 15
    assert first.endswith((".", ":")) or len(docstring.splitlines()) > 1


@pytest.mark.parametrize("component", OURS, ids=lambda component: f"{component.kind}-{component.name}")
class TestEveryComponentThatIsShipped:
    def test_is_named_in_lower_case_words_and_summed_up(self, component: Component) -> None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", component.name)
        assert 10 < len(component.summary) <= 110

    def test_exists_and_refuses_an_option_that_it_does_not_have(self, component: Component) -> None:
        target = component.resolve()
        if component.kind in BUILT_FROM_OPTIONS:
            with pytest.raises(UserError, match=r"^here: .*(is missing|unknown option 'no_such_option')"):
                check(target, {"no_such_option": 1}, "here")
