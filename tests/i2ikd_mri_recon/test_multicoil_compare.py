"""A complete comparison on fastMRI-like folders, and inference on new k-space: simulated heads, and real ones."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from i2ikd_mri.coils.maps import normalised
from i2ikd_mri.resample import resample

import i2ikd
from i2ikd.cli.main import run
from i2ikd.config import check_experiment
from i2ikd.experiment.compare import compare
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.registry import default_registry

REAL = os.environ.get("I2IKD_TEST_DATA")
EXPERIMENT = """
name = "multicoil"
seeds = [0]
comparison = {{ latency = false }}
training = {{ epochs = {epochs}, batch = 2, device = "cpu", lr = 2e-3 }}
arms = [{{ name = "student" }}, {{ name = "kd-mri", recipe = "kd-mri", distiller = "attention" }}]
teacher = {{ model = "varnet", cascades = 2, channels = 4, pools = 2 }}
student = {{ model = "dc-cnn", cascades = 2, depth = 3, channels = 4, residual = true }}

[task]
name = "mri-multicoil"
target = "{target}"
compress = 3
dataset = {{ root = '{root}', reader = "fastmri" }}
mask = {{ name = "fastmri-equispaced", acceleration = 3, center_fraction = 0.12, offset = 1 }}
"""


def compared(folder: Path, root: Path, target: str, epochs: int) -> dict[str, dict[str, Any]]:
    """Run ``i2ikd compare``; return the rows by arm."""
    (folder / "e.toml").write_text(EXPERIMENT.format(root=root.as_posix(), target=target, epochs=epochs), "utf-8")
    assert run(["compare", str(folder / "e.toml"), "--out", str(folder / "out")]) == 0
    return {row["arm"]: row for row in json.loads((folder / "out" / "results.json").read_text("utf-8"))["rows"]}


def inferred(folder: Path, new: Path) -> np.ndarray:
    """Run ``i2ikd infer`` with the distilled student; return the magnitude [slices, H, W]."""
    student = folder / "out" / "students" / "kd-mri" / "seed0"
    assert run(["infer", str(student), "--input", str(new), "--output", str(folder / "result.npy")]) == 0
    return np.abs(np.load(folder / "result.npy"))


def test_a_varnet_teaches_a_dc_cnn_which_reconstructs_new_k_space(
    files: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = files.fastmri_folder(tmp_path / "data", (36, 32), slices=2)
    rows = compared(tmp_path, root, "sense", epochs=1)
    assert set(rows) == {"zero-filled-sense", "zero-filled-rss", "teacher", "student", "kd-mri"}
    assert "72 x 32; complex" in capsys.readouterr().out
    mask = i2ikd.create("mask", "fastmri-equispaced", acceleration=3, center_fraction=0.12, offset=1)
    lines = mask((36, 32), (), centered=True)[0].numpy().astype(bool)
    new = files.fastmri_file(tmp_path / "new.h5", files.heads(3, 2, (36, 32)), mask=lines, gain=1e-5)
    result = inferred(tmp_path, new)
    with h5py.File(root / "multicoil_test" / "file3.h5") as file:
        reference = file["reconstruction_rss"][()]
    assert result.shape == reference.shape
    error = ((result - reference) ** 2).sum() / (reference**2).sum()
    assert error == pytest.approx(rows["kd-mri"]["nmse"]["mean"], rel=0.3), "the test slices, in the file's units"


def test_teachers_of_the_root_sum_of_squares_are_a_varnet_or_a_u_net(files: SimpleNamespace, tmp_path: Path) -> None:
    root = files.fastmri_folder(tmp_path / "data", (36, 32), slices=1)
    for number, teacher in enumerate(({"model": "varnet", "cascades": 1}, {"model": "unet"})):
        document = tomllib.loads(EXPERIMENT.format(root=root.as_posix(), target="rss", epochs=1))
        document["teacher"] = {**teacher, "channels": 4, "pools": 2}
        experiment = check_experiment(document, "test")
        graph = RunGraph(ExperimentContext(experiment, default_registry(), tmp_path / f"out{number}"))
        result = compare(graph, experiment.arms, experiment.seeds, log=lambda text: None)
        quality = {row.arm: row.metrics["psnr"].mean for row in result.rows}
        assert len(quality) == 5 and all(5 < value < 60 for value in quality.values()), quality
        assert result.metadata["target"] == "rss"


@pytest.mark.skipif(not REAL, reason="I2IKD_TEST_DATA names no folder of real data")
def test_networks_improve_on_the_zero_filled_images_of_real_heads(files: SimpleNamespace, tmp_path: Path) -> None:
    """Complex images of real heads, seen by the coils of another scan."""
    data = Path(REAL or "")
    if not (data / "multicoil" / "brain8ch.h5").is_file() or not (data / "complex").is_dir():
        pytest.skip("I2IKD_TEST_DATA has no folders multicoil and complex")
    with h5py.File(data / "multicoil" / "brain8ch.h5") as file:
        kspace = torch.from_numpy(file["kspace"][()])
    estimated = i2ikd.create("coil_map", "low-resolution", extent=20)(kspace, torch.ones(kspace.shape[-2], 1), True)
    size = (64, 56)
    maps = normalised(resample(estimated, (2 * size[0], size[1]))).numpy()
    for split in ("train", "val", "test"):
        for path in sorted((data / "complex" / split).glob("*.h5"))[:2]:
            with h5py.File(path) as file:
                images = resample(torch.from_numpy(file["image"][2:6]), size).numpy()
            files.fastmri_file(tmp_path / "data" / split / path.name, images, coils=maps)
    rows = compared(tmp_path, tmp_path / "data", "sense", epochs=8)
    quality = {arm: row["psnr"]["mean"] for arm, row in rows.items()}
    baseline = max(quality["zero-filled-sense"], quality["zero-filled-rss"])
    assert all(quality[arm] > baseline + 0.5 for arm in ("teacher", "student", "kd-mri")), quality
