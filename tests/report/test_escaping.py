"""Names, notes and metadata are text in every form of a report; the page runs its own script only."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from i2ikd.evaluation.records import Record
from i2ikd.experiment.summary import Comparison, Conclusion
from i2ikd.hookspecs import hookimpl
from i2ikd.registry import Plugin, Registry, default_registry
from i2ikd.report.page import page
from i2ikd.report.pictures import Picture, save_pictures
from i2ikd.report.write import write_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Tags(HTMLParser):
    """Collects tags, attributes, and the content of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts.append(data)


def renamed(comparison: Comparison) -> Comparison:
    """The comparison with a hostile text wherever a file or a plugin may state one."""
    name = {row.arm: f"{row.arm}{HOSTILE}" for row in comparison.rows if row.kind == "arm"}
    rows = [
        replace(
            row,
            arm=name.get(row.arm, row.arm),
            differences={name[other]: value for other, value in row.differences.items()},
            corrected={name[other]: value for other, value in row.corrected.items()},
        )
        for row in comparison.rows
    ]

    def record(old: Record) -> Record:
        return replace(old, arm=name.get(old.arm, old.arm), subject=old.subject + HOSTILE, volume=old.volume + HOSTILE)

    return replace(
        comparison,
        name=HOSTILE,
        metadata={HOSTILE: HOSTILE},
        rows=rows,
        records=[record(old) for old in comparison.records],
        references=[name[reference] for reference in comparison.references],
        student=name["student"],
        conclusions=[Conclusion(HOSTILE, name["kd-mri"], warning=True)],
        histories={f"{name['student']}/seed0": comparison.histories["student/seed0"]},
    )


class Hostile:
    """A plugin whose figures have hostile names, titles and errors."""

    @hookimpl
    def register_figures(self, register: Any) -> None:
        def drawn(comparison: Comparison) -> Figure:
            figure = Figure()
            figure.subplots().set_title(HOSTILE)
            return figure

        def broken(comparison: Comparison) -> Figure:
            raise RuntimeError(HOSTILE)

        register(f"../{HOSTILE}", drawn, summary=HOSTILE)
        register("broken", broken, summary=HOSTILE)


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.plugins = list(default_registry().plugins)
    registry.add(Plugin(HOSTILE, HOSTILE, HOSTILE, Hostile()))
    return registry


def test_no_text_becomes_markup_and_the_policy_permits_the_pages_script_alone(
    make_comparison: Callable[..., Comparison],
    make_pictures: Callable[..., list[Picture]],
    registry: Registry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    comparison = renamed(make_comparison(arms={"student": 31.4, "kd-mri": 31.7}, epochs=2))
    pictures = [replace(p, label=p.label + HOSTILE, subject=HOSTILE) for p in make_pictures(comparison, 24)]
    save_pictures(pictures, tmp_path)
    files = {file.name: file for file in write_report(comparison, tmp_path, registry)}
    assert {file.parent for file in files.values()} == {tmp_path / "report"}
    tags = Tags(files["index.html"].read_text(encoding="utf-8"))
    assert [tag for tag, _ in tags.tags if tag == "script"] == ["script"]
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]
    (policy,) = (a["content"] or "" for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256("".join(tags.scripts).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and policy.startswith("default-src 'none'; img-src data:;")
    for file in files.values():
        if file.suffix == ".svg":
            root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
            assert not [e for e in root.iter() if e.tag.rpartition("}")[2] in ("script", "img")]
    assert not re.search(r"(?<!\\)<(script|img)", files["table.md"].read_text(encoding="utf-8"))


def test_the_policy_stands_before_everything_it_governs(make_comparison: Callable[..., Comparison]) -> None:
    text = page(make_comparison(arms={"student": 31.4}, epochs=2), None, Registry())
    assert text.index("Content-Security-Policy") < min(text.index(tag) for tag in ("<style", "<script", "<body"))
