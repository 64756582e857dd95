"""``i2ikd export``: formats by ending, the printed comparison, and the example of the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from i2ikd.experiment.finished import context_of

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
    assert "--web: expected --bundle DIR" in refused("a.pt2", "--web")
    assert "--web-runtime x: expected --web" in refused("a.pt2", "--web-runtime", "x")
    missing = i2ikd("export", run, "--bundle", tmp_path / "b", "--web", "--web-runtime", tmp_path).error
    assert "expected the package onnxruntime-web with ort.wasm.min.mjs" in missing
    assert "expected --bundle DIR, the folder that is uploaded" in refused("a.pt2", "--push-to-hub", "group/a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny.toml"]


BLOCKED = ["torch", "i2ikd", "i2ikd_mri", "i2ikd_mri_recon", "scipy", "h5py", "onnx", "timm", "matplotlib"]


def run_programs(bundle: Path, calls: list[list[str]]) -> subprocess.CompletedProcess[str]:
    """Run the program of a bundle, call by call, in a process where only NumPy, onnxruntime and nibabel are found."""
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        f"for arguments in {calls!r}:\n"
        "    sys.argv = ['run.py', *arguments]\n"
        f"    runpy.run_path({str(bundle / 'run.py')!r}, run_name='__main__')\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_a_bundle_reads_new_files_and_its_model_runs_as_the_page_shows(
    i2ikd: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    uploads: list[dict[str, Any]] = []
    api = SimpleNamespace(
        create_repo=lambda **what: uploads.append(what), upload_folder=lambda **what: uploads.append(what) or "address"
    )
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    statements = ("-o", "card.data_licence=CC BY-SA 3.0", "--push-to-hub", "group/tiny", "--web")
    result = i2ikd("export", run, "--bundle", bundle, "--calibration", 2, *statements)
    assert result.code == 0 and f"{bundle}/model.int8.onnx: " in result.out and "uploaded: address" in result.out
    assert [call["repo_id"] for call in uploads] == ["group/tiny"] * 2 and uploads[1]["folder_path"] == bundle
    sums = (bundle / "SHA256SUMS").read_text("utf-8")
    assert all(f"  web/{name}\n" in sums for name in ("index.html", "page.js", "arrays.js", "preparation.js"))
    card = (bundle / "README.md").read_text("utf-8")
    assert "Licence of the data: CC BY-SA 3.0." in card
    assert "- Stage `reconstruction`: target; epochs 2, batch 2, optimizer adam, lr 0.001, schedule step." in card
    assert re.search(r"training and validation `[0-9a-f]{64}`", card)
    assert re.search(r"Exported by i2ikd \S+, commit ([0-9a-f]{40}(-dirty)?|not recorded)\.", card)
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    assert config["name"] == "tiny/teacher/seed0" and config["task"]["name"] == "mri-recon"
    np.save(tmp_path / "new.npy", np.random.default_rng(0).random((3, 40, 36), np.float32))
    for folder, name in ((run, "from_run.npy"), (bundle, "from_bundle.npy")):
        assert i2ikd("infer", folder, "--input", tmp_path / "new.npy", "--output", tmp_path / name).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "from_bundle.npy"), np.load(tmp_path / "from_run.npy"), atol=1e-5)
    affine = np.array([[0, -2.0, 0, 5], [3, 0, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]])
    test = context_of(run, None, ()).task.dataset("test")
    head = 500 * np.stack([test[index].target[0].numpy() for index in range(3)])
    np.save(tmp_path / "head.npy", head)
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(head, 0, -1), affine), tmp_path / "head.nii.gz")
    calls = []
    for name in ("head.npy", "head.nii.gz"):
        assert i2ikd("infer", bundle, "--input", tmp_path / name, "--output", tmp_path / f"infer_{name}").code == 0
        calls.append(["--input", str(tmp_path / name), "--output", str(tmp_path / f"alone_{name}")])
    done = run_programs(bundle, calls)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "alone_head.npy"), np.load(tmp_path / "infer_head.npy"), atol=5e-3)
    alone, inferred = (nibabel.load(tmp_path / f"{start}_head.nii.gz") for start in ("alone", "infer"))
    np.testing.assert_allclose(alone.get_fdata(), inferred.get_fdata(), atol=5e-3)  # of values up to 500
    np.testing.assert_array_equal(alone.affine, inferred.affine)
    assert (
        "of a size with a mask (32x32), got 40x36"
        in run_programs(bundle, [["--input", str(tmp_path / "new.npy"), "--output", str(tmp_path / "x.npy")]]).stderr
    )
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
