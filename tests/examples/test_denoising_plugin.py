"""The example plugin is built and installed, and all of its components are registered and usable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
QUICK = [
    "seeds=[0]",
    "task.dataset={name='photographs', crop=16, crops=2, photographs=2}",
    "teacher.depth=4",
    "teacher.channels=4",
    "student.channels=3",
    "training.epochs=1",
    "comparison.latency=false",
]


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


def test_its_tests_comparison_inference_and_command_succeed(site: Any, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (40, 52), np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photo.png")
    overrides = [part for change in QUICK for part in ("-o", change)]
    run, files = "out/students/kd-edges/seed0", ["--input", "photo.png", "--output", "clean.png"]
    site.tests_and_commands(
        "i2ikd_denoising",
        site.denoising / "tests",
        ["compare", site.denoising / "experiment.toml", "--out", "out", "--arms", "student,kd-edges", *overrides],
        ["infer", run, *files, "--tile", 24],
        ["denoise-show", "page", "--run", run, "--output", "page.png"],
        cwd=tmp_path,
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    found = {row["arm"]: row for row in results["rows"]}
    assert list(found) == ["noisy", "teacher", "student", "kd-edges"]
    assert 18 < found["noisy"]["psnr"]["mean"] < 22, "noise of 0.1 is 20 dB where the peak is 1"
    assert np.isfinite(found["kd-edges"]["edges"]["mean"])
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    clean = np.asarray(Image.open(tmp_path / "clean.png"))
    assert clean.shape == noisy.shape and (clean != noisy).any()
    assert np.asarray(Image.open(tmp_path / "page.png")).shape == (191, 3 * 384)
