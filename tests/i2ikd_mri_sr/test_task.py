"""The super-resolution task: samples and baselines equal their definition on either grid."""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.task import MriSuperResolution

import i2ikd
from i2ikd import Batch, UserError
from i2ikd.config import check_experiment, read_experiment
from i2ikd.testing import check_task

SHAPE = (12, 20, 3)


def _volume(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, size=shape).astype(np.float32)


def _save(path: Path, volume: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["volfs"] = volume


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, split in enumerate(["train", "train", "val", "test"]):
        _save(tmp_path / "data" / split / f"subject{number}.h5", _volume(number))
    return tmp_path / "data"


@pytest.fixture
def complex_root(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        (tmp_path / "complex" / split).mkdir(parents=True)
        image = random.normal(size=(2, 12, 20)) + 1j * random.normal(size=(2, 12, 20))
        with h5py.File(tmp_path / "complex" / split / f"{split}.h5", "w") as file:
            file["image"] = image.astype(np.complex64)
    return tmp_path / "complex"


def _task(root: Path, dataset: dict[str, Any] | None = None, **options: Any) -> MriSuperResolution:
    dataset = {"root": root, "normalise": "none", **(dataset or {})}
    return i2ikd.create("task", "mri-sr", dataset=dataset, **options)


def _complex(root: Path, **options: Any) -> MriSuperResolution:
    return _task(root, {"reader": "complex-hdf5"}, combine="complex", **options)


def _zero_filled(image: np.ndarray, kept: tuple[int, int]) -> np.ndarray:
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    mask = np.zeros(image.shape)
    rows, columns = (slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(image.shape, kept))
    mask[rows, columns] = 1
    return np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum * mask))))


def test_the_input_is_the_magnitude_of_the_centre_of_kspace(root: Path) -> None:
    sample = _task(root).dataset("test")[1]
    image = _volume(3)[..., 1]
    assert sample.key == ("subject3", "subject3", 1)
    assert sample.conditions == {}
    np.testing.assert_array_equal(sample.target[0], image)
    np.testing.assert_allclose(sample.input[0], _zero_filled(image, (3, 5)), atol=1e-6)
    assert sample.input.dtype == sample.target.dtype == torch.float32
    kept = _task(root, keep=(6, 4)).dataset("test")[1]
    np.testing.assert_allclose(kept.input[0], _zero_filled(image, (6, 4)), atol=1e-6)


def test_files_of_one_subject_share_it_in_their_keys(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        for frame in ("01", "12"):
            _save(tmp_path / split / f"patient{number}_frame{frame}.h5", _volume(number, (12, 20, 2)))
    task = _task(tmp_path, {"subject": r"patient\d+"})
    assert list(task.dataset("test").keys) == [
        ("patient3", f"patient3_frame{frame}", index) for frame in ("01", "12") for index in range(2)
    ]
    assert [sample.key for sample in task.dataset("test")] == list(task.dataset("test").keys)


def test_the_low_grid_has_the_same_mean_and_a_small_input(root: Path) -> None:
    sample = _task(root, factor=2, grid="low").dataset("test")[1]
    assert sample.input.shape == (1, 6, 10)
    assert sample.target.shape == (1, 12, 20)
    torch.testing.assert_close(sample.input.mean(), sample.target.mean(), rtol=1e-2, atol=0)


def test_complex_data_lose_resolution_before_or_after_the_magnitude_is_computed(complex_root: Path) -> None:
    with h5py.File(complex_root / "test" / "test.h5") as file:
        image = file["image"][1]
    phase = _complex(complex_root, factor=2).dataset("test")[1]
    np.testing.assert_allclose(phase.target[0], np.abs(image), rtol=1e-5)
    np.testing.assert_allclose(phase.input[0], _zero_filled(image, (6, 10)), atol=1e-5)
    plain = _task(complex_root, {"reader": "complex-hdf5"}, factor=2).dataset("test")[1]
    np.testing.assert_allclose(plain.input[0], _zero_filled(np.abs(image), (6, 10)), atol=1e-5)
    assert torch.equal(plain.target, phase.target)


@pytest.mark.parametrize("combine", ["magnitude", "complex"])
def test_baselines_are_the_same_on_both_grids(complex_root: Path, combine: str) -> None:
    rows, inputs = {}, {}
    for grid in ("target", "low"):
        task = _task(complex_root, {"reader": "complex-hdf5"}, factor=4, grid=grid, combine=combine)
        samples = task.dataset("test")
        batch = Batch.collate([samples[1], samples[0]])
        rows[grid], inputs[grid] = task.baseline(batch), batch.input
    assert set(rows["target"]) == set(rows["low"]) == {"zero-filled", "bicubic"}
    for name, image in rows["target"].items():
        torch.testing.assert_close(rows["low"][name], image)
    assert torch.equal(rows["target"]["zero-filled"], inputs["target"])
    assert torch.equal(rows["low"]["bicubic"], enlarge(inputs["low"], (12, 20)))


def test_baselines_of_complex_data_need_their_slices(complex_root: Path) -> None:
    task = _complex(complex_root)
    augmented = task.dataset("train", ["intensity"]).sample(1, 3)
    with pytest.raises(UserError, match="train, slice 1: its complex slice is not available"):
        task.baseline(Batch.collate([augmented]))


def test_augmentations_precede_the_low_resolution_and_depend_on_the_seed(root: Path) -> None:
    task = _task(root, factor=2)
    samples = task.dataset("train", ["flip", "shift", "intensity", "mix"])
    one, same, other = (samples.sample(2, seed) for seed in (5, 5, 6))
    assert torch.equal(one.input, same.input)
    assert not torch.equal(one.target, other.target)
    np.testing.assert_allclose(one.input[0], _zero_filled(one.target[0].numpy(), (6, 10)), atol=1e-6)
    assert torch.equal(samples[2].target, task.dataset("train")[2].target)


@pytest.mark.parametrize("grid", ["target", "low"])
@pytest.mark.parametrize("kind", ["magnitude", "complex"])
def test_conforms(grid: str, kind: str) -> None:
    dataset = {"name": "phantom", "train": 2, "val": 1, "test": 1, "slices": 2, "size": (32, 32)}
    dataset["complex_valued"] = kind == "complex"
    check_task(i2ikd.create("task", "mri-sr", dataset=dataset, grid=grid, combine=kind))


def test_identity_and_description_depend_on_the_settings(root: Path) -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"factor": 2},
        {"keep": (3, 5)},
        {"combine": "complex"},
        {"grid": "low"},
        {"loss": "mse"},
    ]
    texts = [json.dumps(_task(root, **options).identity()) for options in settings]
    assert len(set(texts)) == len(texts)
    assert not any(str(root) in text for text in texts)
    assert json.dumps(_task(root, memory_mib=1, factor=4).identity()) == texts[0]
    described = _task(root, keep=(6, 5)).describe()
    assert (described["size"], described["kept k-space"], described["factor"]) == ("12 x 20", "6 x 5", "2 x 4")
    assert _task(root).describe()["factor"] == "4"


def test_a_slice_that_does_not_fit_is_named(root: Path) -> None:
    with pytest.raises(UserError, match=r"subject3, slice 0: .*12x20.*4x7.*integer multiple"):
        _task(root, factor=3, grid="low").dataset("test")[0]
    with pytest.raises(UserError, match="did you mean 'factor'"):
        _task(root, facto=3)
    with pytest.raises(UserError, match="factor"):
        _task(root, factor=1)


def test_slices_and_samples_are_cached_within_the_memory_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((2048, 6), (0, 18)):
        task, reads = _task(root, memory_mib=limit), list[int]()
        kind = type(task._source.volumes("train")[0])
        original = kind.__getitem__
        with monkeypatch.context() as patch:
            patch.setattr(kind, "__getitem__", lambda self, i, n=reads, read=original: (n.append(i), read(self, i))[1])
            for _ in range(3):
                for sample in (task.dataset("train")[i] for i in range(6)):
                    assert sample.input.shape == (1, 12, 20)
        assert len(reads) == expected


def test_a_fully_sampled_file_is_inferred_and_written_back(root: Path, tmp_path: Path) -> None:
    _save(tmp_path / "new.h5", _volume(9))
    task = _task(root, factor=2)
    samples = task.sample_from_file(tmp_path / "new.h5", simulate=True)
    np.testing.assert_array_equal(samples[2].target[0], _volume(9)[..., 2])
    assert list(samples.simulated) == [
        "low resolution, from magnitude images: k-space of 12 x 20 cut to its central 6 x 10"
    ]
    task.write([samples[i].input for i in range(3)], tmp_path / "new.h5", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["reconstruction"][..., 1], samples[1].input[0])


@pytest.mark.parametrize("grid", ["target", "low"])
def test_a_low_resolution_file_has_the_input_of_its_full_resolution_file(root: Path, tmp_path: Path, grid: str) -> None:
    """With an odd kept part both are identical; the size of the dataset is not applied to the file."""
    full = _volume(9, (12, 20, 1))
    _save(tmp_path / "full.h5", full)
    expected = _task(root, factor=4, grid=grid).sample_from_file(tmp_path / "full.h5", simulate=True)[0]
    low = _task(root, factor=4, grid="low").sample_from_file(tmp_path / "full.h5", simulate=True)[0].input
    _save(tmp_path / "low.h5", low[0, ..., None].numpy())
    task = _task(root, {"size": (12, 20)}, factor=4, grid=grid)
    samples = task.sample_from_file(tmp_path / "low.h5")
    sample = samples[0]
    assert not samples.simulated
    torch.testing.assert_close(sample.input, expected.input)
    assert sample.target.shape == (1, 12, 20)
    assert not sample.target.any()
    assert len(task.baseline(Batch.collate([sample]))) == 1


@pytest.mark.parametrize("file", ["template.toml", "demo.toml"])
def test_template_and_demo_are_valid(file: str) -> None:
    document = tomllib.loads(resources.files("i2ikd_mri_sr").joinpath(file).read_text(encoding="utf-8"))
    _check(check_experiment(document, file))


@pytest.mark.parametrize("file", ["sr-4x.toml", "sr-4x-quick.toml", "sr-2x-quick.toml"])
def test_the_papers_experiments_are_valid(file: str) -> None:
    folder = Path(__file__).parents[2] / "examples" / "experiments"
    _check(read_experiment(folder / file))


def _check(experiment: Any) -> None:
    """Create all components of an experiment except its data."""
    assert [arm.name for arm in experiment.arms] == ["student", "control", "kd-mri"]
    assert isinstance(i2ikd.create("task", experiment.task.name, **experiment.task.options), MriSuperResolution)
    networks = [i2ikd.create("model", n.model, **n.options) for n in (experiment.teacher, experiment.student)]
    assert i2ikd.get("pairs", "vdsr")(*networks) == [("layers.5", "layers.3")]
    for arm in experiment.arms:
        assert i2ikd.create("recipe", arm.recipe, **arm.options)
