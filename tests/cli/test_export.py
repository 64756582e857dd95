"""``i2ikd export``: formats by ending, the printed comparison, and the example of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"


@pytest.fixture
def run(i2ikd: Any, tiny_file: Path, tmp_path: Path) -> Path:
    """Return the folder of a trained network."""
    assert i2ikd("train", tiny_file, "--out", tmp_path / "out").code == 0
    return tmp_path / "out" / "teacher" / "seed0"


def test_weights_are_written_compared_and_timed(i2ikd: Any, run: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.safetensors"
    result = i2ikd("export", run, "--output", output)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{output}: ") and "safetensors, fp32, torch" in lines[0]
    assert re.search(r"^  4 test slices: largest difference to the network .*e-\d+, root mean square", lines[1])
    assert [line.split(":")[0].strip() for line in lines[2:6]] == ["psnr", "ssim", "nmse", "hfn"]
    assert re.search(r"times as fast as eager torch \(.* ms\), 1 threads$", lines[6])
    assert "exists already" in i2ikd("export", run, "--output", output).error
    written = json.loads(i2ikd("export", run, "--output", output, "--force", "--precision", "fp16", "--json").out)
    assert written["format"] == "safetensors" and written["precision"] == "fp16"
    assert written["bytes"] == output.stat().st_size


def test_wrong_arguments_are_refused_with_the_remedy(i2ikd: Any, run: Path, tmp_path: Path) -> None:
    def refused(name: str, *options: str) -> str:
        error: str = i2ikd("export", run, "--output", tmp_path / name, *options).error
        return error

    assert "expected an ending of a format" in refused("a.png")
    assert "--size: expected HEIGHTxWIDTH, such as 256x192, got '32'" in refused("a.pt2", "--size", "32")
    assert "--precision: torch-export supports fp32, bf16, got int8" in refused("a.pt2", "--precision", "int8")
    assert "did you mean 'onnx'?" in refused("a.onnx", "--format", "onxx")
    assert "expected one of --output FILE and --bundle DIR, got none" in i2ikd("export", run).error
    assert "--bundle DIR, got both" in refused("a.pt2", "--bundle", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny.toml"]


def test_a_bundle_reads_new_files_and_its_model_runs_as_the_page_shows(
    i2ikd: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    result = i2ikd("export", run, "--bundle", bundle, "--calibration", 2)
    assert result.code == 0 and f"{bundle}/model.int8.onnx: " in result.out
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    assert config["name"] == "tiny/teacher/seed0" and config["task"]["name"] == "mri-recon"
    np.save(tmp_path / "new.npy", np.random.default_rng(0).random((3, 40, 36), np.float32))
    for folder, name in ((run, "from_run.npy"), (bundle, "from_bundle.npy")):
        assert i2ikd("infer", folder, "--input", tmp_path / "new.npy", "--output", tmp_path / name).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "from_bundle.npy"), np.load(tmp_path / "from_run.npy"), atol=1e-5)
    (tmp_path / "student.onnx").write_bytes((bundle / "model.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"```python\n(import numpy.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)
    assert names["image"].shape == (1, 1, 96, 96)
    bundle.rename(tmp_path / "student")
    (text,) = re.findall(r"```python\n(import i2ikd\n\npredictor.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(text, names)
    np.testing.assert_array_equal(
        names["image"], names["network"](torch.from_numpy(names["zero_filled"]), mask=torch.from_numpy(names["mask"]))
    )
