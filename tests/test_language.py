"""Words that the project's language retires: no name, docstring, comment or page has them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    file
    for folder in ("i2ikd", "plugins", "examples", "benchmarks", "tests")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if file != Path(__file__)
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

RETIRED = [
    # personification: state, report, request, receive, read
    r"told|tells?|telling",
    r"said|says?|saying",
    r"asks?|asked|asking",
    r"hears?|heard|hearing|listens?|listened|listening",
    r"(look|looks|looked|looking) at",
    r"has to say|have to say",
    # people: user, process, job
    r"persons?|people|strangers?|somebody|someone|nobody|anybody|anyone|everybody|of (?:ours|theirs)",
    # places of computing
    r"elsewhere|(stand|stands|stood|standing) on",
    r"(let|lets|letting) go of|is let go|made ready|the very",
    # names of the vocabulary before
    r"trainees?|workbench|knowledge ?bank|knowledge ?files|laid out|listened to|blamed",
    r"(?-i:Ground)(?! truth)|(?-i:Watcher)",
]
PATTERN = re.compile(r"\b(?:" + "|".join(RETIRED) + r")\b", re.IGNORECASE)


def words(name: str) -> str:
    """Return the words of an identifier.

    >>> words("heardBy_anyone_2")
    'heard By anyone 2'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")


def names_and_docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every name that a module defines, and of every string that stands for itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, words(node.name)
        elif isinstance(node, ast.arg):
            yield node.lineno, words(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, words(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, words(node.attr)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number, line in enumerate(node.value.value.splitlines()):
                yield node.lineno + number, line


def comments(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def retired(texts: Iterator[tuple[int, str]]) -> list[str]:
    return [f"{line}: {match[0]!r} in {text.strip()!r}" for line, text in texts for match in PATTERN.finditer(text)]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_source_has_no_retired_word(file: Path) -> None:
    source = file.read_text("utf-8")
    assert retired(names_and_docstrings(ast.parse(source))) + retired(comments(source)) == []
    assert PATTERN.search(words(file.stem)) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_no_retired_word(page: Path) -> None:
    assert retired(iter(enumerate(page.read_text("utf-8").splitlines(), 1))) == []


@pytest.mark.parametrize("text", ["what it was told", words("test_heard_by_all"), words("KnowledgeBank"), "Ground"])
def test_a_retired_word_is_found(text: str) -> None:
    assert PATTERN.search(text) is not None


@pytest.mark.parametrize("text", ["mask, task and basket", "ground truth", "Ground truth", "understands", "retelling"])
def test_parts_of_other_words_are_not_retired(text: str) -> None:
    assert PATTERN.search(text) is None
