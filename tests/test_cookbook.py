"""Recipes of the cookbook, run on small data with networks as small as their taps permit."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import pytest
from PIL import Image

from i2ikd.cli.main import run

PAGE = (Path(__file__).parents[1] / "docs/cookbook.md").read_text("utf-8")
SHORT = ["training.epochs=1", "training.batch=2", "training.device=cpu", "comparison.latency=false", "seeds=[0]"]
Compare = Callable[..., set[str]]


def block(language: str, part: str) -> str:
    """The block of a language that contains a text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (text for text in blocks if part in text)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


@pytest.fixture
def compared(capsys: pytest.CaptureFixture[str]) -> Compare:
    def compare(experiment: str, *overrides: str) -> set[str]:
        words = [word for override in (*SHORT, *overrides) for word in ("-o", override)]
        assert run(["compare", experiment, "--out", "out", "--json", *words]) == 0, capsys.readouterr().err
        return {row["arm"] for row in json.loads(capsys.readouterr().out)["rows"]}

    return compare


def test_low_dose_ct(folder: Path, compared: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for side in ("input", "target"):
        (folder / "ct" / side).mkdir(parents=True)
        for patient in range(5):
            values = random.integers(-1000, 3000, (16, 12, 2)).astype(np.int16)
            nibabel.save(
                nibabel.Nifti1Image(values, np.diag([2, 2, 5, 1])), folder / "ct" / side / f"p{patient}_a.nii.gz"
            )
    (folder / "ct.toml").write_text(block("toml", "low-dose-ct"), "utf-8")
    small = ["teacher.channels=2", "student.channels=2", "task.patch=[8,8]"]
    assert {"teacher", "student", "control", "kd-mri"} <= compared("ct.toml", *small)
    new = next((folder / "ct/input").iterdir())
    assert run(["infer", "out/students/kd-mri/seed0", "--input", str(new), "--output", "denoised.nii.gz"]) == 0
    result = nibabel.load(folder / "denoised.nii.gz")
    assert result.shape == (16, 12, 2) and result.get_data_dtype() == np.int16
    np.testing.assert_array_equal(result.affine, np.diag([2, 2, 5, 1]))


def test_rgb_super_resolution_in_other_languages(
    folder: Path, compared: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for side, size in (("input", (8, 6)), ("target", (16, 12))):
        (folder / "photos" / side).mkdir(parents=True)
        for name in "abcde":
            values = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / "photos" / side / f"{name}.png")
    (folder / "upsampler.py").write_text(block("python", "class Upsampler"), "utf-8")
    (folder / "enlarge.toml").write_text(block("toml", "rgb-super-resolution"), "utf-8")
    monkeypatch.delitem(sys.modules, "upsampler", raising=False)
    small = ["teacher.width=4", "student.width=2", "task.patch=[4,4]"]
    assert compared("enlarge.toml", *small) == {"bicubic", "teacher", "student", "control", "kd-mri"}
    command = ["export", "out/students/kd-mri/seed0", "--trust", "--output", "student.onnx"]
    assert run(command) == 0
    session = onnxruntime.InferenceSession("student.onnx")
    (entry,) = session.get_inputs()
    assert f'inputs[] = {{"{entry.name}"}}' in block("cpp", "Ort::Session")
    assert f"session.run({{ {entry.name} }})" in block("html", "ort.min.js")
    assert entry.type == "tensor(float)" and [side for side in entry.shape if isinstance(side, int)] == [3]


def test_lightning(folder: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: number of workers, missing validation
        exec(
            compile(block("python", "class Distilled"), "cookbook.md", "exec", dont_inherit=True),
            {"__name__": "recipe"},
        )
    assert (folder / "student.pt").is_file()
