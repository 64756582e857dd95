"""The example plugin is built and installed, and all of its components are registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PROVIDED = {
    "task": "denoising",
    "dataset": "photographs",
    "reader": "photograph",
    "model": "denoising-cnn",
    "pairs": "denoising-cnn",
    "distiller": "edge-map",
    "metric": "gradient-psnr-slice-unit",
    "command": "denoise-show",
}


def test_it_is_listed_with_all_of_its_components(site: Any, tmp_path: Path) -> None:
    plugins = json.loads(site.i2ikd("plugins", "--json", cwd=tmp_path))
    (found,) = (plugin for plugin in plugins if plugin["name"] == "denoising")
    assert (found["distribution"], found["version"], found["problem"]) == ("i2ikd-denoising", "0.1.0", None)
    assert {item["kind"]: item["name"] for item in found["provides"]} == PROVIDED
    assert all(plugin["problem"] is None for plugin in plugins)


@pytest.mark.parametrize("kind", ["distillers", "readers"])
def test_its_components_are_listed_among_the_others(site: Any, tmp_path: Path, kind: str) -> None:
    rows = {row["name"]: row for row in json.loads(site.i2ikd("list", kind, "--json", cwd=tmp_path))}
    assert rows[PROVIDED[kind.removesuffix("s")]]["distribution"] == "i2ikd-denoising"
    assert len({row["plugin"] for row in rows.values()}) > 1
