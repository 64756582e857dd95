"""Files of the repository agree: versions, extras, workflows, forms, links."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
TESTS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text("utf-8"))
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / ".github/PULL_REQUEST_TEMPLATE.md"]


def test_the_version_is_stated_alike() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_workflows_run_on_the_declared_versions_of_python() -> None:
    prefix = "Programming Language :: Python :: 3."
    declared = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if name.startswith(prefix)]
    assert TESTS["jobs"]["test"]["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_workflows_and_hooks_run_targets_and_tools_that_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    steps = [step.get("run", "") for job in TESTS["jobs"].values() for step in job["steps"]]
    made = {target for step in steps for target in re.findall(r"\bmake ([\w-]+)", step)}
    assert {"test", "test-lowest"} <= made <= targets
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    tools = {Requirement(each).name for each in EXTRAS["dev"]} | {"lint-imports"}
    assert {Path(hook["entry"].split()[0]).name for hook in hooks} <= tools


def test_the_development_environment_has_every_extra() -> None:
    for name, requirements in EXTRAS.items():
        assert set(requirements) <= set(EXTRAS["dev"]), name
    declared = [Requirement(each) for each in [*PROJECT["dependencies"], *EXTRAS["dev"]]]
    assert all([clause.operator for clause in each.specifier] == [">="] for each in declared)


def test_the_site_of_read_the_docs_is_built_with_the_extra() -> None:
    settings = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text("utf-8"))
    assert settings["python"]["install"] == [{"method": "pip", "path": ".", "extra_requirements": ["docs"]}]
    assert (ROOT / settings["mkdocs"]["configuration"]).is_file() and settings["mkdocs"]["fail_on_warning"]


@pytest.mark.parametrize("form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda form: form.stem)
def test_an_issue_form_is_complete(form: Path) -> None:
    content = yaml.safe_load(form.read_text("utf-8"))
    if form.stem == "config":
        assert content == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "labels", "body"} <= set(content)
    fields = [field["id"] for field in content["body"]]
    assert len(set(fields)) == len(fields)
    assert all(
        field["type"] in ("textarea", "input", "dropdown") and field["attributes"]["label"] for field in content["body"]
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_are_valid(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?:|#", link)]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []
