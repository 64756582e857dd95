"""A bundle works alone: its program needs NumPy and onnxruntime, its loaders neither data nor plugins."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import nn

import i2ikd
from i2ikd import Batch, Task, UserError
from i2ikd.deploy.bundle import Origin, write_bundle
from i2ikd.deploy.card import model_card
from i2ikd.deploy.export import ExportSettings
from i2ikd.evaluation.predict import make_metrics
from i2ikd.registry import default_registry

FILES = [
    "README.md",
    "SHA256SUMS",
    "config.json",
    "model.int8.onnx",
    "model.onnx",
    "model.safetensors",
    "preparation.npz",
    "preparation.py",
    "run.py",
    "test_vector.npz",
]
ORIGIN = Origin(
    name="tiny/students/kd/seed0",
    model="dc-cnn",
    options={"cascades": 1},
    task={"name": "mri-recon"},
    digest="0" * 64,
    rows=[{"arm": "kd", "psnr": {"mean": 30.0, "low": 29.0, "high": 31.0}}, {"arm": "teacher", "psnr": None}],
    arm="kd",
    worst={"kd": 28.5},
    manifest={"data": {"dataset": "phantom"}, "device": "cpu"},
    papers=["arXiv:1704.02422"],
    run="students/kd/seed0",
    card={
        "data": "IXI, 128x128",
        "data_licence": "CC BY-SA 3.0",
        "attribution": "IXI",
        "licence": "CC BY-SA 3.0",
        "limits": "Adults only.",
        "citation": ["Own work, 2026"],
    },
    data_digests={"test": "ab"},
    stages=["Stage `output`: imitation"],
    columns={"psnr": "psnr-volume-max"},
)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(4)
    made: nn.Module = i2ikd.create("model", "dc-cnn", cascades=1, depth=2, channels=8)
    return made.eval()


@pytest.fixture(scope="module")
def task() -> Task:
    dataset = {"name": "phantom", "train": 2, "val": 1, "test": 1, "slices": 2, "size": [32, 32]}
    made: Task = i2ikd.create("task", "mri-recon", dataset=dataset)
    return made


@pytest.fixture(scope="module")
def bundle(network: nn.Module, task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = default_registry()
    metrics = {"psnr": make_metrics(registry, task)["psnr-volume-max"]}
    folder = tmp_path_factory.mktemp("bundles") / "student"
    reports = write_bundle(network, task, metrics, registry, folder, ExportSettings(repeats=1), ORIGIN)
    assert [report.path.name for report in reports] == ["model.onnx", "model.int8.onnx", "model.safetensors"]
    return folder


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program of a bundle where neither torch nor i2ikd can be imported."""
    code = (
        "import runpy, sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'i2ikd', 'scipy', 'nibabel', 'onnx']))\n"
        f"sys.argv = {['run.py', *arguments]!r}\n"
        f"runpy.run_path({str(folder / 'run.py')!r}, run_name='__main__')\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_it_has_all_files_and_their_sums(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == FILES
    assert [path.name for path in bundle.parent.iterdir()] == ["student"]
    sums = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    assert sorted(sums) == [name for name in FILES if name != "SHA256SUMS"]
    assert all(hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())


def test_the_program_checks_the_models_and_the_files(copy: Path) -> None:
    done = program(copy, "--check")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines()[-1] == "passed" and "model.int8.onnx: root mean square" in done.stdout
    with np.load(copy / "test_vector.npz") as archive:
        vector = dict(archive)
    vector["expected"] = vector["expected"] + 0.1
    np.savez(copy / "test_vector.npz", **vector)
    done = program(copy, "--check")
    assert done.returncode == 1
    assert "test_vector.npz: expected the content of SHA256SUMS" in done.stderr
    assert "model.onnx: expected a difference of at most" in done.stderr


def test_the_program_computes_images(copy: Path, network: nn.Module, task: Task) -> None:
    sample = Batch.collate([task.dataset("test")[0]])
    np.savez(copy / "inputs.npz", input=sample.input.numpy(), mask=sample.conditions["mask"].numpy())
    done = program(copy, "--input", str(copy / "inputs.npz"), "--output", str(copy / "image.npy"))
    assert (done.returncode, done.stderr) == (0, "")
    with torch.no_grad():
        expected = network(sample.input, **sample.conditions).numpy()
    np.testing.assert_allclose(np.load(copy / "image.npy"), expected, atol=1e-5)
    np.savez(copy / "inputs.npz", input=sample.input.numpy()[0])
    calls = (str(copy / "inputs.npz"), "--output", str(copy / "image.npy"))
    done = program(copy, "--input", *calls)
    assert done.returncode == 1 and done.stderr.endswith(
        "exists already; overwrite it with --force, or choose another file\n"
    )
    done = program(copy, "--input", *calls, "--force")
    assert done.returncode == 1 and "expected the arrays input, mask, got input" in done.stderr
    np.save(copy / "objects.npy", np.array([{}]))
    done = program(copy, "--input", str(copy / "objects.npy"), "--output", str(copy / "other.npy"))
    assert done.returncode == 1 and "objects.npy: cannot be read: Object arrays cannot be loaded" in done.stderr


def test_it_is_loaded_without_a_plugin(
    bundle: Path, network: nn.Module, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("i2ikd.registry.Registry.create", None)
    batch = Batch.collate([task.dataset("test")[index] for index in range(2)])
    with torch.no_grad():
        expected = network(batch.input, **batch.conditions)
    torch.testing.assert_close(i2ikd.load(bundle)(batch.input, **batch.conditions), expected, rtol=1e-5, atol=1e-5)
    predictor = i2ikd.Predictor(bundle, "model.int8.onnx")
    assert predictor.inputs == {"input": ["batch", 1, "height", "width"], "mask": ["batch", 1, "height", 1]}
    image, mask = batch.input.numpy(), batch.conditions["mask"].numpy()
    assert 0 < float(np.abs(predictor(input=image, mask=mask) - expected.numpy()).max()) < 0.1
    with pytest.raises(UserError, match="expected the inputs input, mask, got input"):
        predictor(input=image)
    with pytest.raises(
        UserError, match=r"input: expected real values \['batch', 1, 'height', 'width'\], got complex64"
    ):
        predictor(input=image + 0j, mask=mask)
    with pytest.raises(UserError, match=r"mask: expected real values .*, got float32 \[2, 1, 32\]"):
        predictor(input=image, mask=mask[..., 0])
    with pytest.raises(UserError, match=r"expected a bundle with other\.onnx"):
        i2ikd.Predictor(bundle, "other.onnx")


def test_its_card_states_interface_quality_and_origin(bundle: Path) -> None:
    text = (bundle / "README.md").read_text("utf-8")
    assert "| **kd** | 30 [29, 31] | 28.5 |" in text and "| teacher | – | – |" in text
    assert "| mask | `['batch', 1, 'height', 1]` | float32 |" in text
    assert "dataset phantom" in text and "- arXiv:1704.02422" in text and "- Own work, 2026" in text
    assert "| model.int8.onnx | int8 | onnxruntime" in text
    assert "- Licence of the data: CC BY-SA 3.0.\n- Attribution: IXI.\n" in text
    assert "- SHA-256 of what the samples depend on: test `ab`." in text
    assert "- Stage `output`: imitation." in text and "- Commit of i2ikd: not recorded." in text
    assert "i2ikd export OUT/students/kd/seed0 --bundle DIR" in text
    assert "\nAdults only.\n" in text and "this network is **kd**. Metrics: psnr: `psnr-volume-max`." in text
    config = json.loads((bundle / "config.json").read_text("utf-8"))
    assert [entry["file"] for entry in config["measured"]] == ["model.onnx", "model.int8.onnx", "model.safetensors"]
    assert str(bundle.parent) not in json.dumps(config) + text


def test_its_card_has_the_front_matter_of_hugging_face(bundle: Path) -> None:
    card = huggingface_hub.ModelCard.load(bundle / "README.md").data
    assert (card.license, card.library_name, card.pipeline_tag) == ("cc-by-sa-3.0", "onnxruntime", "image-to-image")
    (result,) = card.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("psnr", 30.0, "IXI, 128x128")


def test_no_file_contains_data_of_a_subject(bundle: Path, task: Task, network: nn.Module) -> None:
    contents = [path.read_bytes() for path in bundle.iterdir()]
    for path in bundle.glob("*.npz"):
        with zipfile.ZipFile(path) as archive:
            contents += [archive.read(name) for name in archive.namelist()]
    weight = network.get_parameter("cascades.0.layers.1.convolution.weight").detach().numpy()
    assert any(weight.tobytes()[:64] in content for content in contents), "the search finds what is in a file"
    for split in ("train", "test"):
        sample = task.dataset(split)[0]
        assert sample.target is not None
        for values in (sample.input.numpy(), sample.target.numpy(), sample.conditions["kspace"].numpy()):
            for row in values.reshape(-1, values.shape[-1]):
                assert not any(row[:4].tobytes() in content for content in contents if row[:4].all())


def test_what_is_not_known_is_stated_as_such(bundle: Path) -> None:
    report = SimpleNamespace(
        path=Path("model.onnx"),
        agreement=SimpleNamespace(metrics={}, slices=0),
        latency={"file": SimpleNamespace(median_ms=1.0), "eager": SimpleNamespace(median_ms=2.0)},
        size_bytes=1,
        precision="fp32",
        runtime="onnxruntime",
        speedup=2.0,
    )
    origin = Origin("other", "dc-cnn", {}, {"name": "mri-recon"}, "0" * 64, card={"licence": "Private terms"})
    text = model_card(origin, [report], {"input": [1]})  # type: ignore[list-item]
    assert text.startswith("---\n") and 'license: "other"\nlicense_name: "private-terms"\n' in text
    assert "Not stated: the run is not part of a comparison." in text
    assert "- Licence of the data: not stated.\n- Attribution: not stated.\n" in text
    assert "model-index" not in text and "None stated." in text and "scan.nii.gz" not in text


def test_an_existing_folder_is_not_overwritten(bundle: Path, network: nn.Module, task: Task, tmp_path: Path) -> None:
    def write(folder: Path, force: bool) -> None:
        write_bundle(network, task, {}, default_registry(), folder, ExportSettings(force=force), ORIGIN)

    with pytest.raises(UserError, match="exists already; overwrite the bundle with --force"):
        write(bundle, force=False)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="exists already; choose another folder"):
        write(tmp_path / "mine", force=True)
