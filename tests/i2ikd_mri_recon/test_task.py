"""The reconstruction task: samples equal their definition, are deterministic, and errors name the slice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import torch
from i2ikd_mri.slices import Slices
from i2ikd_mri_recon.task import MriRecon

import i2ikd
from i2ikd import Batch, BoundedCache, UserError

SHAPE = (12, 10, 3)


def _volume(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 1, size=shape).astype(np.float32)


def _save(path: Path, volume: np.ndarray, **others: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["volfs"] = volume
        for name, values in others.items():
            file[name] = values


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, split in enumerate(["train", "train", "val", "test"]):
        _save(tmp_path / "data" / split / f"subject{number}.h5", _volume(number))
    return tmp_path / "data"


def _task(root: Path, reader: Any = None, **options: Any) -> MriRecon:
    dataset = {"root": root, "normalise": "none", **({"reader": reader} if reader else {})}
    return i2ikd.create("task", "mri-recon", dataset=dataset, **options)


def test_a_real_sample_is_the_zero_filled_real_part(root: Path) -> None:
    sample = _task(root, mask={"acceleration": 3, "axis": 1}).dataset("test")[1]
    image, mask = _volume(3)[..., 1], sample.conditions["mask"]
    assert sample.key == ("subject3", "subject3", 1)
    assert mask.shape == (1, 1, 10)
    assert int(mask.sum()) == round(10 / 3)
    kspace = mask[0].numpy() * np.fft.fft2(image, norm="ortho")
    np.testing.assert_allclose(sample.target[0], image)
    np.testing.assert_allclose(sample.conditions["kspace"][0], kspace, atol=1e-6)
    np.testing.assert_allclose(sample.input[0], np.fft.ifft2(kspace, norm="ortho").real, atol=1e-6)
    assert sample.conditions["kspace"].dtype == torch.complex64
    assert sample.input.dtype == sample.target.dtype == mask.dtype == torch.float32


def test_files_of_one_subject_share_it_in_their_keys(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        for frame in ("01", "12"):
            _save(tmp_path / split / f"patient{number}_frame{frame}.h5", _volume(number, (12, 20, 2)))
    dataset = {"root": tmp_path, "subject": r"patient\d+"}
    task: MriRecon = i2ikd.create("task", "mri-recon", dataset=dataset)
    assert list(task.dataset("test").keys) == [
        ("patient3", f"patient3_frame{frame}", index) for frame in ("01", "12") for index in range(2)
    ]
    assert [sample.key for sample in task.dataset("test")] == list(task.dataset("test").keys)


def test_a_complex_sample_has_two_channels_and_a_centred_kspace_when_set(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = (random.normal(size=(1, 7, 10)) + 1j * random.normal(size=(1, 7, 10))).astype(np.complex64)
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        with h5py.File(tmp_path / split / f"{split}.h5", "w") as file:
            file["image"] = image
    task = _task(tmp_path, reader="complex-hdf5", mode="complex", centered=True)
    sample = task.dataset("test")[0]
    assert sample.input.shape == sample.target.shape == (2, 7, 10)
    np.testing.assert_array_equal(sample.target[0] + 1j * sample.target[1], image[0])
    full = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image[0]), norm="ortho"))
    mask = sample.conditions["mask"][0].numpy()
    assert mask[7 // 2, 0] == 1
    np.testing.assert_allclose(sample.conditions["kspace"][0], mask * full, atol=1e-5)
    np.testing.assert_allclose(task.to_display(sample.target), np.abs(image[0]), rtol=1e-5)
    magnitude = _task(tmp_path, reader="complex-hdf5").dataset("test")[0]
    np.testing.assert_allclose(magnitude.target[0], np.abs(image[0]), rtol=1e-5)


def test_a_network_with_zero_weights_outputs_the_zero_filled_image(root: Path) -> None:
    """Task and network use the same conventions: with all weights 0 the output is the zero-filled image."""
    for mode in ("real", "complex"):
        for centered in (False, True):
            task = _task(root, mode=mode, centered=centered)
            batch = Batch.collate([task.dataset("train")[i] for i in (0, 4)])
            network = i2ikd.create("model", "dc-cnn", cascades=1, depth=2, channels=2, mode=mode, centered=centered)
            for parameter in network.parameters():
                torch.nn.init.zeros_(parameter)
            torch.testing.assert_close(network(batch.input, **batch.conditions), batch.input, atol=1e-6, rtol=0)


def test_a_fixed_mask_is_shared_and_a_random_one_depends_on_sample_and_seed(root: Path) -> None:
    fixed = _task(root).dataset("train")
    assert not fixed.varies
    assert torch.equal(fixed[0].conditions["mask"], fixed.sample(4, 7).conditions["mask"])
    free = _task(root, mask={"fixed": False}).dataset("train")
    assert free.varies
    masks = [free.sample(i, seed).conditions["mask"] for i in range(3) for seed in (None, 1, 2)]
    again = [free.sample(i, seed).conditions["mask"] for i in range(3) for seed in (None, 1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(masks, again))
    assert len({tuple(m.flatten().tolist()) for m in masks}) > 4


def test_augmentations_precede_undersampling_and_depend_on_the_seed(root: Path) -> None:
    task = _task(root)
    samples = task.dataset("train", ["flip", "shift", "intensity", "mix"])
    assert samples.varies
    one, same, other = (samples.sample(2, seed) for seed in (5, 5, 6))
    assert torch.equal(one.input, same.input)
    assert not torch.equal(one.target, other.target)
    kspace = one.conditions["mask"] * torch.fft.fft2(one.target, norm="ortho")
    torch.testing.assert_close(one.conditions["kspace"], kspace)
    assert torch.equal(samples[2].target, task.dataset("train")[2].target)


def test_slices_are_read_once_within_the_memory_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    for limit, expected in ((2048, 6), (0, 18)):
        task = _task(root, memory_mib=limit)
        samples = task.dataset("train")
        kind = type(task._source.volumes("train")[0])
        original = kind.__getitem__
        reads.clear()
        with monkeypatch.context() as patch:
            patch.setattr(kind, "__getitem__", lambda self, i, read=original: (reads.append(i), read(self, i))[1])
            first = [samples[i] for i in range(6)]
            for _ in range(2):
                for i, sample in enumerate(task.dataset("train")[j] for j in range(6)):
                    assert torch.equal(sample.input, first[i].input)
        assert len(reads) == expected


def test_a_stored_pair_is_used_unchanged(tmp_path: Path) -> None:
    image = _volume(0, (12, 10, 1))
    mask = np.zeros((12, 1), np.float32)
    mask[[0, 1, 4, 11]] = 1
    kspace = 0.5 * np.fft.fft2(image[..., 0], norm="ortho") * mask
    pair = {
        "kspace_volus_4x": kspace[..., None].astype(np.complex64),
        "img_volus_4x": np.fft.ifft2(kspace, norm="ortho").real[..., None].astype(np.float32),
    }
    for split in ("train", "val", "test"):
        _save(tmp_path / split / f"{split}.h5", image, **pair)
    reader = {"name": "kdmri-hdf5", "acceleration": 4}
    task = _task(tmp_path, reader=reader, stored=True)
    sample = task.dataset("test")[0]
    assert np.array_equal(sample.conditions["mask"][0], mask)
    np.testing.assert_allclose(sample.input[0], pair["img_volus_4x"][..., 0], atol=1e-6)
    assert task.describe()["measured acceleration"] == "3.00"
    simulated = _task(tmp_path, reader=reader, mask={"acceleration": 4}).dataset("test")[0]
    assert not torch.equal(simulated.input, sample.input)
    np.save(tmp_path / "mask.npy", np.repeat(mask, 10, 1))
    named = _task(tmp_path, reader=reader, stored=True, mask={"name": "file", "path": tmp_path / "mask.npy"})
    assert torch.equal(named.dataset("test")[0].conditions["mask"], sample.conditions["mask"])
    np.save(tmp_path / "mask.npy", np.repeat(1 - mask, 10, 1))
    wrong = _task(tmp_path, reader=reader, stored=True, mask={"name": "file", "path": tmp_path / "mask.npy"})
    with pytest.raises(
        UserError, match=r"slice 0: the stored k-space has samples where the mask of the task is 0; store its"
    ):
        wrong.dataset("test")[0]
    with pytest.raises(
        UserError, match="inverse transform of the stored k-space differs from the stored undersampled image"
    ):
        _task(tmp_path, reader=reader, stored=True, centered=True).dataset("test")[0]
    with pytest.raises(UserError, match=r"augmentations need simulated k-space; remove training\.augmentations"):
        task.dataset("train", ["flip"])


def test_metrics_use_real_images_unchanged_and_the_magnitude_of_complex_ones() -> None:
    image = torch.tensor([[[3.0, -5.0]], [[4.0, 12.0]]])
    task = i2ikd.create("task", "mri-recon", dataset="phantom")
    np.testing.assert_allclose(task.to_display(image), [[5, 13]])
    np.testing.assert_allclose(task.to_display(image[:1]), [[3, -5]])


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    "mask", [{"acceleration": 3, "axis": 0}, {"acceleration": 2.5, "axis": 1}], ids=["rows", "columns"]
)
def test_the_input_is_the_real_part_or_the_magnitude_and_the_baseline_is_the_magnitude(
    root: Path, centered: bool, mask: dict[str, float]
) -> None:
    image = _volume(3)[..., 1].astype(np.float64)
    tasks = {
        name: _task(root, mask=mask, centered=centered, **({} if name == "default" else {"input": name}))
        for name in ("default", "real", "magnitude")
    }
    batches = {name: Batch.collate([task.dataset("test")[1]]) for name, task in tasks.items()}
    shift, back = (np.fft.fftshift, np.fft.ifftshift) if centered else (np.asarray, np.asarray)
    kept = batches["real"].conditions["mask"][0, 0].numpy() * shift(np.fft.fft2(back(image), norm="ortho"))
    zero_filled = shift(np.fft.ifft2(back(kept), norm="ortho"))
    assert np.abs(zero_filled.imag).max() > 0.05, "real part and magnitude differ"
    for name, expected in (("default", zero_filled.real), ("real", zero_filled.real), ("magnitude", abs(zero_filled))):
        np.testing.assert_allclose(batches[name].input[0, 0], expected, atol=1e-6)
        (row,) = tasks[name].baseline(batches[name]).items()
        assert row[0] == "zero-filled" and row[1].dtype == torch.float32
        np.testing.assert_allclose(tasks[name].to_display(row[1][0]), abs(zero_filled), atol=1e-6)
        assert torch.equal(batches[name].conditions["kspace"], batches["real"].conditions["kspace"])
        assert torch.equal(batches[name].target, batches["real"].target)


def test_the_baseline_of_complex_images_is_their_magnitude_too(root: Path) -> None:
    task = _task(root, mode="complex", mask={"acceleration": 3})
    batch = Batch.collate([task.dataset("test")[1]])
    kept = batch.conditions["mask"][0, 0].numpy() * np.fft.fft2(_volume(3)[..., 1].astype(np.float64), norm="ortho")
    found = task.to_display(task.baseline(batch)["zero-filled"][0])
    np.testing.assert_allclose(found, np.abs(np.fft.ifft2(kept, norm="ortho")), atol=1e-6)


def test_a_stored_pair_has_the_input_that_is_wanted(tmp_path: Path) -> None:
    image, mask = _volume(0, (12, 10, 1)), np.zeros((12, 1), np.float32)
    mask[[0, 1, 4, 11]] = 1
    kspace = np.fft.fft2(image[..., 0], norm="ortho") * mask
    zero_filled = np.fft.ifft2(kspace, norm="ortho")
    pair = {"kspace_volus_4x": kspace[..., None].astype(np.complex64)}
    for form in (zero_filled.real, np.abs(zero_filled)):
        _save(tmp_path / "test" / "a.h5", image, **pair, img_volus_4x=form[..., None].astype(np.float32))
        reader = {"name": "kdmri-hdf5", "acceleration": 4}
        for name, expected in (("real", zero_filled.real), ("magnitude", np.abs(zero_filled))):
            sample = _task(tmp_path, reader=reader, stored=True, input=name).dataset("test")[0]
            np.testing.assert_allclose(sample.input[0], expected, atol=1e-6)


def test_losses(root: Path) -> None:
    output, target = torch.tensor([[[[1.0, 4.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    assert _task(root).loss(output, target) == 2
    assert _task(root, loss="mse").loss(output, target) == 5


def test_the_identity_is_json_without_paths_and_depends_on_the_settings(root: Path) -> None:
    texts = [
        json.dumps(_task(root, **options).identity())
        for options in ({}, {"mask": {"seed": 1}}, {"mask": "equispaced"}, {"loss": "mse"}, {"centered": True},
                        {"input": "magnitude"})
    ]  # fmt: skip
    assert len(set(texts)) == len(texts)
    assert not any(str(root) in text for text in texts)
    assert json.dumps(_task(root, memory_mib=1).identity()) == texts[0]


def test_the_description_has_the_measured_acceleration(root: Path) -> None:
    described = _task(root, mask={"acceleration": 5, "axis": 1}).describe()
    assert described["measured acceleration"] == f"{10 / 2:.2f}"
    assert described["size"] == "12 x 10"
    assert described["input"] == "real" and _task(root, input="magnitude").describe()["input"] == "magnitude"
    assert "input" not in _task(root, mode="complex").describe()


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite|NaN"), (np.inf, "not finite|NaN"), (0, "all zero")]
)
def test_a_bad_slice_is_named(tmp_path: Path, value: float, message: str) -> None:
    volume = _volume(0)
    volume[..., 2] = value
    _save(tmp_path / "test" / "patient.h5", volume)
    task = i2ikd.create("task", "mri-recon", dataset={"root": tmp_path, "normalise": "none", "empty": "refuse"})
    samples = task.dataset("test")
    with pytest.raises(UserError, match=rf"patient.*slice 2.*({message})"):
        samples[2]


def test_a_mask_of_another_shape_is_named_with_the_slice(root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.eye(9))
    samples = _task(root, mask={"name": "file", "path": tmp_path / "mask.npy"}).dataset("test")
    with pytest.raises(
        UserError, match=r"subject3, slice 0: .*expected the size of the slices \[12, 10\], got \[9, 9\]"
    ):
        samples[0]


def test_wrong_options_are_refused(root: Path) -> None:
    for options, message in (
        ({"mode": "magnitude"}, "mode = 'magnitude'"),
        ({"input": "complex"}, "input = 'complex'"),
        ({"mode": "complex", "input": "magnitude"}, "input = 'magnitude' needs mode = 'real', got mode = 'complex'"),
        ({"mask": {"aceleration": 2}}, "did you mean 'acceleration'"),
        ({"mask": "poisson"}, "unknown mask 'poisson'"),
        ({"memory_mib": -1}, "memory_mib"),
    ):
        with pytest.raises(UserError, match=message):
            _task(root, **options)
    with pytest.raises(UserError, match="unknown augmentation 'flipp'"):
        _task(root).dataset("train", ["flipp"])


def test_a_file_is_inferred_and_written_back(root: Path, tmp_path: Path) -> None:
    volume = _volume(9)
    volume[..., 0] = 0
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([2.0, 3, 4, 1])), tmp_path / "new.nii")
    task = _task(root)
    samples = task.sample_from_file(tmp_path / "new.nii")
    assert len(samples) == 3
    task.write([samples[i].target for i in range(3)], tmp_path / "new.nii", tmp_path / "out.nii.gz")
    result = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(np.asarray(result.dataobj), volume, rtol=1e-6)
    np.testing.assert_allclose(result.affine, np.diag([2.0, 3, 4, 1]))
    task.write([samples[i].input for i in range(3)], tmp_path / "new.nii", tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["reconstruction"][..., 1], samples[1].input[0].abs())


def test_new_data_without_a_fully_sampled_image_uses_the_stored_kspace() -> None:
    """Samples of a new volume with k-space only have a target of zeros; a split refuses such a volume."""
    mask = torch.zeros(8, 1)
    mask[[0, 1, 5]] = 1
    kspace = (torch.randn(8, 6, dtype=torch.complex64) * mask).numpy()

    class KSpaceOnly:
        name = "new"

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            return {"kspace": kspace}

    class Source:
        def volumes(self, split: str) -> list[KSpaceOnly]:
            return [KSpaceOnly()]

        def identity(self) -> dict[str, object]:
            return {}

    task = i2ikd.create("task", "mri-recon", dataset="phantom")
    task._source = Source()
    with pytest.raises(UserError, match=r"expected a fully sampled image, which training and scores need, got .*alone"):
        _ = task.dataset("test")[0]
    memory: BoundedCache[Any] = BoundedCache(0, policy="refuse")
    slices = Slices([KSpaceOnly()], "real", False, memory, "file", empty=True)
    sample = task.samples(slices, (), memory, "file")[0]
    np.testing.assert_allclose(sample.input[0], np.fft.ifft2(kspace, norm="ortho").real, atol=1e-6)
    assert not sample.target.any()
    assert torch.equal(sample.conditions["mask"][0], mask)


@pytest.mark.parametrize(("mode", "form"), [("real", "real"), ("real", "magnitude"), ("complex", "real")])
@pytest.mark.parametrize("centered", [False, True])
def test_a_network_of_the_other_centring_is_refused(mode: str, form: str, centered: bool) -> None:
    dataset = {"name": "phantom", "train": 1, "val": 1, "test": 1, "slices": 1, "size": [24, 20]}
    task = i2ikd.create("task", "mri-recon", dataset=dataset, mode=mode, centered=centered, input=form)
    sample = task.dataset("test")[0]
    batch = {name: value[None] for name, value in sample.conditions.items()}
    same, other = (
        i2ikd.create("model", "dc-cnn", cascades=1, depth=2, channels=2, mode=mode, centered=flag)
        for flag in (centered, not centered)
    )
    same(sample.input[None], **batch)
    expected, got = ("index 0", "index n // 2") if centered else ("index n // 2", "index 0")
    option, remedy = (f"centered = {str(flag).lower()}" for flag in (not centered, centered))
    message = (
        rf"expected a k-space with zero frequency at {expected} \({option}\), got {got}; set {remedy} in \[teacher\]"
    )
    with pytest.raises(UserError, match=message):
        other(sample.input[None], **batch)
    unrelated = torch.rand_like(sample.input[None])
    other(unrelated, **batch)  # an image that matches neither centring is accepted
