"""Teacher and student on tiny RGB photographs, through the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from i2ikd_pairs.task import Pairs
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from i2ikd.cli.main import run
from i2ikd.config import read_experiment
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.registry import default_registry

EXPERIMENT = """
name = "photos"
seeds = [0]
training = {{ epochs = 1, batch = 2, device = "cpu", augmentations = ["flip", "rotate90"] }}
comparison = {{ latency = false }}
teacher = {{ model = "plain-cnn", depth = 3, channels = 6 }}
student = {{ model = "plain-cnn", depth = 2, channels = 4 }}
pairs = [["layers.1.activation", "layers.0.activation"]]
task = {{ name = "pairs", root = "{root}", channels = 3, patch = [8, 8] }}

[[arms]]
name = "student"

[[arms]]
name = "kd-mri"
recipe = "kd-mri"
"""


@pytest.fixture
def experiment(photos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photos.toml"
    path.write_text(EXPERIMENT.format(root=photos.as_posix()), encoding="utf-8")
    return path


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_compare_and_infer_colours(experiment: Path, photos: Path, tmp_path: Path, call: Any) -> None:
    code, out, err = call("compare", experiment, "--out", tmp_path / "out", "--json")
    assert code == 0, err
    rows = {row["arm"]: row for row in json.loads(out)["rows"]}
    assert {"input", "teacher", "student", "kd-mri"} <= rows.keys()
    pairs = [
        [np.asarray(Image.open(photos / side / "Test" / f"test{number}.png")) for side in ("target", "input")]
        for number in range(2)
    ]
    expected = np.mean([peak_signal_noise_ratio(target, image, data_range=255) for target, image in pairs])
    assert rows["input"]["psnr"]["mean"] == pytest.approx(expected, abs=1e-4)
    assert (tmp_path / "out" / "report" / "index.html").is_file()

    student = tmp_path / "out" / "students" / "kd-mri" / "seed0"
    code, out, err = call("infer", student, "--input", photos / "input" / "Test", "--output", tmp_path / "results")
    assert code == 0, err
    image = Image.open(tmp_path / "results" / "test0.png")
    assert (image.mode, image.size) == ("RGB", (16, 12))
    code, _, err = call("infer", student, "--input", tmp_path / "grey.png", "--output", tmp_path / "b.png")
    assert code == 2 and "no such file" in err
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "grey.png")
    code, _, err = call("infer", student, "--input", tmp_path / "grey.png", "--output", tmp_path / "b.png")
    assert code == 2 and "colours are never converted" in err

    deep = np.asarray(image).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    code, _, err = call("infer", student, "--input", tmp_path / "deep.tif", "--output", tmp_path / "c.tif", "--tile", 8)
    assert code == 0, err
    result = tifffile.imread(tmp_path / "c.tif")
    assert (result.dtype, result.shape) == (np.uint16, deep.shape)
    assert np.abs(result.astype(float) - deep).mean() < 65535 / 4, "values are in the units of the input"


def test_inputs_without_target_teach_a_student(experiment: Path, photos: Path, tmp_path: Path, call: Any) -> None:
    (photos / "target" / "Train" / "train1.png").unlink()
    arms = 'arms=[{name="student"},{name="more",recipe="unlabelled-imitation"}]'
    words = ("distill", experiment, "--arm", "more", "--out", tmp_path / "out", "-o", arms)
    code, _, err = call(*words, "-o", "task.unlabelled=true")
    assert code == 0, err
    code, _, err = call(*words)
    assert code == 2 and "set unlabelled = true" in err


def test_targets_may_be_larger_than_inputs(tmp_path: Path, flat: Callable[..., Path], call: Any) -> None:
    root = flat("a", "b", "c", "d")
    for path in (root / "input").iterdir():
        with Image.open(path) as image:
            small = image.resize((8, 6))
        small.save(path)
    enlarging = 'model="upsampling-cnn", factor=2, depth=2, channels=4'
    path = tmp_path / "large.toml"
    path.write_text(
        EXPERIMENT.format(root=root.as_posix())
        .replace("channels = 3, patch = [8, 8]", "scale = 2, patch = [4, 4]")
        .replace('model = "plain-cnn", depth = 3, channels = 6', enlarging)
        .replace('model = "plain-cnn", depth = 2, channels = 4', enlarging)
        .replace("pairs = [[", "# ")
    )
    code, out, err = call("compare", path, "--out", tmp_path / "out", "--arms", "student", "--json")
    assert code == 0, err
    assert {row["arm"] for row in json.loads(out)["rows"]} == {"bicubic", "teacher", "student"}
    student = tmp_path / "out" / "students" / "student" / "seed0"
    code, _, err = call("infer", student, "--input", root / "input" / "a.png", "--output", tmp_path / "a.png")
    assert code == 0, err
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("L", (16, 12))


def test_data_prints_colours_and_patches(experiment: Path, call: Any) -> None:
    code, out, err = call("data", experiment)
    assert code == 0, err
    assert out.splitlines()[0] == "train: 3 subjects, 3 volumes, 3 slices; 8 x 8 (patches); RGB; values 0..255"


def test_an_unchanged_output_is_written_as_it_was_read(photos: Path, tmp_path: Path) -> None:
    task = Pairs(photos, channels=3)
    source = photos / "input" / "Test" / "test0.png"
    outputs = [task.sample_from_file(source)[0].input]
    task.write(outputs, source, tmp_path / "same.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "same.png")), np.asarray(Image.open(source)))
    task.write(outputs, source, tmp_path / "unit.tif", scale="unit")
    assert np.allclose(tifffile.imread(tmp_path / "unit.tif") * 255, np.asarray(Image.open(source)), atol=1e-3)


def test_the_template_is_an_experiment(tmp_path: Path, photos: Path, call: Any) -> None:
    path = tmp_path / "new.toml"
    assert call("init", "--task", "pairs", path)[0] == 0
    code, out, err = call("data", path, "-o", f"task.root={photos}", "-o", "task.patch=[8,8]")
    assert code == 0, err
    assert "12 slices; 8 x 8 (patches); RGB" in out
    small = [f"task.root={photos}", "task.patch=[8,8]", "student.channels=2", "teacher.channels=2"]
    experiment = read_experiment(path, small)
    check(RunGraph(ExperimentContext(experiment, default_registry(), tmp_path / "out")), experiment.arms)
