"""The site builds without a warning, and the commands, settings, code and paths on its pages are valid."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from importlib import resources, util
from pathlib import Path
from typing import Any

import click
import pytest
import torch

import i2ikd
from i2ikd.cli.main import cli
from i2ikd.config import Experiment, apply_override, check_experiment
from i2ikd.config_file import read_document
from i2ikd.options import check
from i2ikd.recipe import Stage
from i2ikd.registry import CORE_KINDS, Registry, default_registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "hooks"]
TEMPLATE = tomllib.loads(resources.files("i2ikd_mri_recon").joinpath("template.toml").read_text("utf-8"))
REPOSITORY = "https://example.org/owner/name"
INVENTED = {"blurred-hint", "inpainting", "edge-error-slice", "progressive-imitation", "rounded"}
"""Names of the components that the guides define."""


def blocks(language: str, *pages: Path) -> Iterator[tuple[str, str]]:
    """Yield (page, text) of every fenced block of a language."""
    for page in pages:
        for text in re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            yield page.relative_to(ROOT).as_posix(), text


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield (page, words) of every ``i2ikd`` command on a page or in the README."""
    for page, text in blocks("console", *PAGES, ROOT / "README.md"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == "i2ikd":
                yield page, words[1:]


class Site:
    """The built site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages = {page.relative_to(folder).as_posix(): page.read_text("utf-8") for page in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    for needed in ("mkdocs", "material", "mkdocstrings_handlers", "latex2mathml"):
        if util.find_spec(needed) is None:
            pytest.skip(f"the site is built with {needed}, which is not installed")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_MKDOCS_2_WARNING": "1", "I2IKD_REPOSITORY": REPOSITORY},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    return Site(folder)


class TestSite:
    def test_loads_nothing_from_a_network(self, site: Site) -> None:
        loading = re.compile(
            r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//|<link\b[^>]*\bhref="(?:https?:)?//'
        )
        assert len(site.pages) > 30
        assert [name for name, text in site.pages.items() if loading.search(text)] == []
        styles = "".join(sheet.read_text("utf-8") for sheet in site.folder.rglob("*.css"))
        assert re.search(r"url\(['\"]?https?://", styles) is None

    def test_searches_pages_that_are_opened_as_files(self, site: Site) -> None:
        index = (site.folder / "search/search_index.js").read_text("utf-8")
        assert "channel-similarity" in index
        worker = re.search(r'<script src="([./]*assets/iframe-worker.js)"', site.pages["hooks/index.html"])
        assert worker and (site.folder / "hooks" / worker[1]).resolve() == site.folder / "assets/iframe-worker.js"
        assert (site.folder / "assets/iframe-worker.js").is_file()

    def test_links_papers_sources_and_the_source_of_each_page(self, site: Site) -> None:
        papers = re.findall(r"arXiv:\d{4}\.\d{4,5}", re.sub(r"<(pre|code|a)\b.*?</\1>", "", site.pages["methods.html"]))
        assert papers == [] and site.pages["methods.html"].count('href="https://arxiv.org/abs/') >= 25
        for name, text in site.pages.items():
            edited = re.findall(r'href="([^"]+)" title="Edit this page"', text)
            source = name.removesuffix(".html") + ".md"
            assert edited == ([] if name == "404.html" else [f"{REPOSITORY}/edit/main/docs/{source}"])
            assert (DOCS / source).is_file() or name == "404.html"

    def test_renders_formulas_without_a_script(self, site: Site) -> None:
        methods = site.pages["methods.html"]
        names = [c.name for c in default_registry().components("distiller") if c.plugin.distribution == "i2ikd"]
        for name in names:
            entry = methods.partition(f'<h3 id="{name}">')[2].partition("<h3 ")[0]
            assert entry.count("<math") == 1 and "\\" not in entry.partition("<math")[2].partition("</math>")[0]
        assert "<math" in site.pages["physics.html"] and "<math" in site.pages["compare-honestly.html"]

    def test_has_a_page_for_every_source(self, site: Site) -> None:
        sources = {page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")}
        assert sources == set(site.pages) - {"404.html"}
        home = site.pages["index.html"]
        assert [name for name in sources if f'href="{name}"' not in home and name != "index.html"] == []

    def test_has_all_generated_parts(self, site: Site) -> None:
        assert [name for name, text in site.pages.items() if "&lt;!-- i2ikd" in text or "<!-- i2ikd" in text] == []

    def test_has_an_entry_for_every_method_command_and_setting(self, site: Site) -> None:
        for component in default_registry().components("distiller"):
            if component.plugin.distribution == "i2ikd":
                assert f'<h3 id="{component.name}">' in site.pages["methods.html"]
        for component in default_registry().components("command"):
            if component.plugin.distribution == "i2ikd":
                assert f'<h2 id="i2ikd-{component.name}">' in site.pages["command-line.html"]
        for key in [*Experiment.model_fields, "cache_mib", "acceleration", "hold_out", "cascades", "encoder"]:
            assert f"<td><code>{key}</code></td>" in site.pages["configuration.html"]

    def test_shows_the_defaults_and_bounds_of_the_models(self, site: Site) -> None:
        rows = re.sub(r"\s*</?t[dhr]>\s*", "|", site.pages["configuration.html"])
        assert "|<code>decay_rate</code>||number &gt; 0 ≤ 1||<code>0.1</code>|" in rows
        assert '|<code>select</code>||<code>"best"</code> or <code>"last"</code>||<code>"best"</code>|' in rows.replace(
            "&quot;", '"'
        )


def test_every_public_name_is_on_the_api_page() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    for name in i2ikd.__all__:
        public: Any = getattr(i2ikd, name)
        if name == "hookimpl":
            assert "`i2ikd.hookimpl`" in text
        else:
            assert re.search(rf"^::: i2ikd\.[\w.]+\.{name}$", text, re.MULTILINE), (
                f"{name} ({public!r}) is not on the page"
            )


@pytest.mark.parametrize(("page", "words"), list(commands()))
def test_a_command_on_a_page_is_valid(page: str, words: list[str]) -> None:
    with click.Context(cli) as top:
        if words == ["--help"]:
            return
        command = cli.get_command(top, words[0])
        assert command is not None
        context = command.make_context(words[0], words[1:], parent=top)
    registry, given = default_registry(), context.params
    if words[0] in ("list", "show"):
        kind = given["kind"].removesuffix("s") if given["kind"] != "pairs" else "pairs"
        assert registry.components(kind)
        assert given.get("name") is None or registry.get(kind, given["name"])
    if given.get("experiment") is not None:
        file = ROOT / given["experiment"]
        overrides = given.get("overrides") or ()
        if file.is_file():
            document = read_document(file, overrides)
        else:
            document = deepcopy(TEMPLATE)
            for override in overrides:
                apply_override(document, override)
        check_experiment(document, page)


def _merged(fragment: dict[str, Any]) -> dict[str, Any]:
    """Merge the fragment on a page into the template; a section naming another component replaces the template's."""
    document = {**TEMPLATE, **fragment}
    task = fragment.get("task", {})
    if "name" not in task:
        document["task"] = {**TEMPLATE["task"], **task}
    elif task["name"] not in {*INVENTED, "pairs"}:
        document["task"] = {"dataset": TEMPLATE["task"]["dataset"], **task}
    return document


def _create(registry: Registry, kind: str, name: str, options: dict[str, Any]) -> Any:
    return None if name in INVENTED else registry.create(kind, name, options)


@pytest.mark.parametrize(("page", "text"), list(blocks("toml", *PAGES, ROOT / "README.md")))
def test_settings_on_a_page_are_valid(page: str, text: str) -> None:
    fragment = tomllib.loads(text)
    if not set(fragment) <= set(Experiment.model_fields):
        assert set(fragment) == {"project"}
        return
    document = _merged(fragment)
    if "comparison" in fragment:
        document["arms"] = TEMPLATE["arms"]
    experiment, registry = check_experiment(document, page), default_registry()
    _create(registry, "task", experiment.task.name, experiment.task.options)
    for network in (experiment.teacher, experiment.student):
        if not network.model.startswith("import:"):
            check(registry.get("model", network.model).resolve(), network.options, page)
    for arm in experiment.arms:
        stages: list[Stage] = registry.create("recipe", arm.recipe, arm.options)
        for term in (term for stage in stages for term in stage.terms):
            _create(registry, "distiller", term.distiller.name, term.distiller.options)


@pytest.mark.parametrize(
    "page",
    ["deploy", "own-network", "physics", "write-a-distiller", "write-a-metric", "write-a-scheme", "write-a-task"],
)
def test_python_on_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    module = type(sys)(page)
    monkeypatch.setitem(sys.modules, page, module)
    parts = [text for _, text in blocks("python", DOCS / f"{page}.md")]
    if page == "deploy":  # the other blocks load exported files; tests/cli/test_export.py runs them
        parts = [text for text in parts if '"student' not in text]
    assert parts
    for text in parts:
        exec(compile(text, f"{page}.md", "exec", dont_inherit=True), module.__dict__)


class TestOwnLoop:
    """The recipes of the page, run in the order of its blocks."""

    def run(self, count: int) -> dict[str, Any]:
        names: dict[str, Any] = {}
        torch.manual_seed(0)
        for _, text in list(blocks("python", DOCS / "own-loop.md"))[:count]:
            exec(compile(text, "own-loop.md", "exec", dont_inherit=True), names)
        return names

    def test_fifteen_lines_train_student_and_adapter(self) -> None:
        (_, networks), (_, loop), *_ = blocks("python", DOCS / "own-loop.md")
        assert len(loop.splitlines()) <= 15 and "teacher, student" in networks
        names = self.run(2)
        assert all(parameter.grad is None for parameter in names["teacher"].parameters())
        assert names["optimiser"].state and len(names["optimiser"].param_groups[0]["params"]) > 6

    @pytest.mark.filterwarnings("ignore")
    def test_the_lightning_callback_adds_its_term_and_trains_the_adapter(self, caplog: Any) -> None:
        pytest.importorskip("pytorch_lightning")
        names = self.run(4)
        trained = names["trainer"].optimizers[0].param_groups[0]["params"]
        assert len(trained) == 6 + len(list(names["distiller"].parameters())) > 6
        assert float(names["trainer"].callback_metrics["distillation"]) > 0
        module = names["module"]
        assert module.training_step.__func__ is names["Denoiser"].training_step, "the module is as it was"
        assert not module.network[1]._forward_hooks


def _extension_rows() -> Iterator[tuple[str, list[str]]]:
    """Yield (kind, files to touch) of every row of the tables on the page about extending."""
    for line in (DOCS / "extend.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 3 and ("_package/" in cells[1] or "/" in cells[-1]) and ".py" in cells[1]:
            kind = {"network": "model", "scheme (objective)": "objective"}.get(cells[0], cells[0])
            yield kind, re.findall(r"`([^`]+)`", cells[1])


class TestExtensionGuide:
    ROWS = ("distiller", "model", "task", "metric", "objective", "exporter", "reader", "recipe", "transform", "command")

    def test_has_a_row_for_every_kind_in_both_tables_with_at_most_three_files(self) -> None:
        rows = list(_extension_rows())
        assert [kind for kind, _ in rows] == [*self.ROWS, *self.ROWS]
        assert all(2 <= len(files) <= 3 for _, files in rows)

    @pytest.mark.parametrize("kind", [kind for kind in ROWS if kind in {each.name for each in CORE_KINDS}])
    def test_names_existing_files_and_folders_of_this_repository(self, kind: str) -> None:
        files = [file for row, files in _extension_rows() if row == kind for file in files if "my_package" not in file]
        missing = [file for file in files if "<name>" not in file and not (ROOT / file).is_file()]
        folders = [Path(file.partition("<name>")[0]) for file in files if "<name>" in file]
        assert files and missing == []
        assert [folder for folder in folders if not any((ROOT / folder.parent).glob(f"{folder.name}*"))] == []
