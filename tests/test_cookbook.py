"""Recipes of the cookbook, run on small data with networks as small as their taps permit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
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
from tests.served import CHROMIUM, dumped, served

PAGE = (Path(__file__).parents[1] / "docs/cookbook.md").read_text("utf-8")
SHORT = ["training.epochs=1", "training.batch=2", "training.device=cpu", "comparison.latency=false", "seeds=[0]"]
Compare = Callable[..., set[str]]
ORT_CPP, ORT_WEB = os.environ.get("I2IKD_ORT_CPP", ""), os.environ.get("I2IKD_ORT_WEB", "")


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


@pytest.fixture(scope="module")
def enlarged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the recipe for colours after its commands, with the student as ``student.onnx``."""
    folder, random = tmp_path_factory.mktemp("enlarge"), np.random.default_rng(0)
    for side, size in (("input", (8, 6)), ("target", (16, 12))):
        (folder / "photos" / side).mkdir(parents=True)
        for name in "abcde":
            values = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / "photos" / side / f"{name}.png")
    (folder / "upsampler.py").write_text(block("python", "class Upsampler"), "utf-8")
    (folder / "enlarge.toml").write_text(block("toml", "rgb-super-resolution"), "utf-8")
    overrides = [*SHORT, "teacher.width=4", "student.width=2", "task.patch=[4,4]"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        patch.delitem(sys.modules, "upsampler", raising=False)
        assert run(["compare", "enlarge.toml", "--out", "out", *(w for o in overrides for w in ("-o", o))]) == 0
        assert run(["export", "out/students/kd-mri/seed0", "--trust", "--output", "student.onnx"]) == 0
    return folder


def test_rgb_super_resolution_in_other_languages(enlarged: Path) -> None:
    rows = json.loads((enlarged / "out" / "results.json").read_text("utf-8"))["rows"]
    assert {row["arm"] for row in rows} == {"bicubic", "teacher", "student", "control", "kd-mri"}
    (entry,) = onnxruntime.InferenceSession(enlarged / "student.onnx").get_inputs()
    assert f'inputs[] = {{"{entry.name}"}}' in block("cpp", "Ort::Session")
    assert f"session.run({{ {entry.name} }})" in block("html", "ort.wasm.min.js")
    assert entry.type == "tensor(float)" and [side for side in entry.shape if isinstance(side, int)] == [3]


@pytest.mark.skipif(not ORT_CPP, reason="needs include/ and lib/ of ONNX Runtime in the folder I2IKD_ORT_CPP")
def test_the_program_in_cpp_computes_what_python_does(enlarged: Path, tmp_path: Path) -> None:
    (tmp_path / "run.cpp").write_text(block("cpp", "Ort::Session"), "utf-8")
    include, library = Path(ORT_CPP) / "include", Path(ORT_CPP) / "lib"
    command = ["g++", "-std=c++17", "-Wall", "-Werror", "-I", include, "-L", library, "run.cpp", "-l", "onnxruntime"]
    subprocess.run([*command, "-o", "run"], cwd=tmp_path, check=True)
    image = np.random.default_rng(1).random((3, 10, 7), dtype=np.float32)
    (expected,) = onnxruntime.InferenceSession(enlarged / "student.onnx").run(None, {"input": image[None]})
    words = [tmp_path / "run", enlarged / "student.onnx", "10", "7"]
    path = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    done = subprocess.run(words, input=image.tobytes(), capture_output=True, env=path, check=True)
    found = np.frombuffer(done.stdout, np.float32).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # another version of the runtime


@pytest.mark.skipif(not (CHROMIUM and ORT_WEB), reason="needs chromium, and onnxruntime-web at the path I2IKD_ORT_WEB")
def test_the_page_computes_what_python_does(enlarged: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (10, 7, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "noisy.png")
    shutil.copy(enlarged / "student.onnx", tmp_path)
    for name in ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        assert name in PAGE
        shutil.copy(next(Path(ORT_WEB).rglob(name)), tmp_path)
    last = "context.putImageData(result, 0, 0);"
    shown = "document.body.dataset.pixels = context.getImageData(0, 0, canvas.width, canvas.height).data.join();"
    page = block("html", "ort.wasm.min.js")
    assert page.count(last) == 1
    (tmp_path / "index.html").write_text(page.replace(last, f"{last} {shown}"), "utf-8")
    with served(tmp_path) as address:
        (pixels,) = re.findall(r'data-pixels="([0-9,]+)"', dumped(address))
    source = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (expected,) = onnxruntime.InferenceSession(enlarged / "student.onnx").run(None, {"input": source})
    found = np.array(pixels.split(","), int).reshape(20, 14, 4)
    assert (found[..., 3] == 255).all()
    np.testing.assert_allclose(found[..., :3], np.clip(255 * expected[0], 0, 255).transpose(1, 2, 0), atol=0.51)


def test_lightning(folder: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: number of workers, missing validation
        exec(
            compile(block("python", "class Distilled"), "cookbook.md", "exec", dont_inherit=True),
            {"__name__": "recipe"},
        )
    assert (folder / "student.pt").is_file()
