"""The packages of the examples and of ``i2ikd new-plugin``, installed beside an i2ikd that was not changed for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.examples.conftest import Tried

ASSISTANT = [
    "seeds=[0]",
    "task.dataset={name='phantom', train=2, val=1, test=1, slices=2, size=[32, 32]}",
    "teacher.channels=4",
    "student.channels=4",
    "training={epochs=1, batch=2, device='cpu'}",
    "comparison.latency=false",
]
DENOISING = [
    "seeds=[0]",
    "task.dataset={name='photographs', crop=16, crops=2, photographs=2}",
    "teacher.depth=4",
    "teacher.channels=4",
    "student.channels=3",
    "training.epochs=1",
    "comparison.latency=false",
]
SKELETON = ["training.epochs=1", "task.size=16", "comparison.latency=false"]


def compared(package: Path, changes: list[str], arms: str | None = None) -> list[object]:
    """The command that compares the experiment of a package, made small."""
    overrides = [part for change in changes for part in ("-o", change)]
    return [
        "compare",
        package / "experiment.toml",
        "--out",
        "out",
        *(["--arms", arms] if arms else []),
        *overrides,
    ]


def test_their_tests_comparisons_inference_and_commands_succeed(site: Any, tmp_path: Path) -> None:
    """In one process, which imports torch once."""
    noisy = np.random.default_rng(0).integers(0, 256, (40, 52), np.uint8)
    Image.fromarray(noisy).save(tmp_path / "photo.png")
    run, files = "out/students/kd-edges/seed0", ["--input", "../photo.png", "--output", "clean.png"]
    denoising = [
        compared(site.denoising, DENOISING, "student,kd-edges"),
        ["infer", run, *files, "--tile", 24],
        ["denoise-show", "page", "--run", run, "--output", "page.png"],
    ]
    packages = [
        Tried("i2ikd_assistant", site.assistant / "tests", [compared(site.assistant, ASSISTANT, "chain,assisted")]),
        Tried("i2ikd_denoising", site.denoising / "tests", denoising, figures=True),
        Tried("fresh_lab", site.skeleton / "tests", [compared(site.skeleton, SKELETON)]),
    ]
    site.tried(packages, cwd=tmp_path)
    rows = {
        package.name: {
            row["arm"]: row
            for row in json.loads((tmp_path / package.name / "out" / "results.json").read_text())["rows"]
        }
        for package in packages
    }
    assert list(rows["i2ikd_assistant"]) == ["zero-filled", "teacher", "chain", "assisted"]
    assert list(rows["fresh_lab"]) == ["input", "teacher", "student", "control", "fresh-lab"]
    assert all(0 < row["worst"]["mean"] < 10 for row in rows["fresh_lab"].values())
    found, folder = rows["i2ikd_denoising"], tmp_path / "i2ikd_denoising"
    assert list(found) == ["noisy", "teacher", "student", "kd-edges"]
    assert 18 < found["noisy"]["psnr"]["mean"] < 22, "noise of 0.1 is 20 dB where the peak is 1"
    assert np.isfinite(found["kd-edges"]["edges"]["mean"])
    assert (folder / "out" / "report" / "index.html").is_file()
    clean = np.asarray(Image.open(folder / "clean.png"))
    assert clean.shape == noisy.shape and (clean != noisy).any()
    assert np.asarray(Image.open(folder / "page.png")).shape == (191, 3 * 384)
