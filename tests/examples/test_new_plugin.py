"""``i2ikd new-plugin`` generates a package that installs; names that cannot be a package are refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from i2ikd.cli.main import run


def refused(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(["new-plugin", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("i2ikd: error: ")


def test_the_installed_package_is_registered(site: Any, tmp_path: Path) -> None:
    plugins = json.loads(site.i2ikd("plugins", "--json", cwd=tmp_path))
    (found,) = (plugin for plugin in plugins if plugin["name"] == "fresh-lab")
    assert (found["distribution"], found["problem"]) == ("fresh-lab", None)
    assert {(item["kind"], item["name"]) for item in found["provides"]} == {
        ("task", "fresh-lab-sharpen"),
        ("model", "fresh-lab-cnn"),
        ("distiller", "fresh-lab-channel-mean"),
        ("metric", "fresh-lab-worst-pixel-slice"),
    }


def test_no_placeholder_is_left_and_names_are_consistent(site: Any) -> None:
    files = [path for path in site.skeleton.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    texts = {str(path.relative_to(site.skeleton)): path.read_text(encoding="utf-8") for path in files}
    assert {"fresh_lab/plugin.py", "tests/test_fresh_lab.py", "pyproject.toml", "README.md"} <= set(texts)
    assert not any("$" in text or ".template" in text for text in texts.values())
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["entry-points"]["i2ikd"] == {"fresh-lab": "fresh_lab.plugin"}


def test_it_is_written_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["new-plugin", "lab2"]) == 0
    assert (tmp_path / "lab2" / "lab2" / "task.py").is_file()


@pytest.mark.parametrize("name", ["My-Lab", "2lab", "my_lab", "my--lab", "-lab", "lab-", "", "../lab", "class"])
def test_a_name_that_cannot_be_a_package_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused("--out", tmp_path / "new", "--", name, capsys=capsys)
    assert line.startswith("plugin name: expected lower-case words") and line.endswith(f"got {name!r}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mri", "plugin name 'mri' is used by the installed mri (i2ikd"),
        ("i2ikd", "plugin name 'i2ikd' is used by the installed builtin (i2ikd"),
        ("json", "plugin name 'json' would hide the installed Python package 'json'"),
        ("i2ikd-mri", "plugin name 'i2ikd-mri' would hide the installed Python package 'i2ikd_mri'"),
    ],
)
def test_a_name_that_is_taken_is_refused(
    name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(name, "--out", tmp_path / "new", capsys=capsys).startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.py").write_text("mine")
    assert "exists and is not an empty folder; choose another --out" in refused(
        "lab2", "--out", tmp_path / "full", capsys=capsys
    )
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.py"]
    assert "exists and is not an empty folder; choose another --out" in refused(
        "lab2", "--out", tmp_path / "full" / "mine.py", capsys=capsys
    )
    assert "does not exist; create it first" in refused("lab2", "--out", tmp_path / "no" / "folder", capsys=capsys)


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["new-plugin", "lab2", "--out", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "pyproject.toml").is_file()
