"""The multi-coil task: samples equal their definition, use measured samples only, and results have the file's units."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from i2ikd_mri_recon.multicoil.task import MriMulticoil

import i2ikd
from i2ikd import Batch, UserError
from i2ikd.engine.batches import SampleBatches
from i2ikd.inventory import Inventory
from i2ikd.testing import check_task

SIZE, WIDE = (32, 40), (64, 40)
LINES = {"name": "fastmri-equispaced", "acceleration": 4, "center_fraction": 0.2, "offset": 1}


@pytest.fixture(scope="module")
def root(files: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.fastmri_folder(tmp_path_factory.mktemp("fastmri"))


def task_of(root: Path, **options: Any) -> MriMulticoil:
    options = {"mask": LINES, **options}
    task: MriMulticoil = i2ikd.create("task", "mri-multicoil", dataset={"root": root, "reader": "fastmri"}, **options)
    return task


def stored(root: Path, name: str = "multicoil_test/file3.h5") -> tuple[np.ndarray, np.ndarray]:
    """Return k-space and the root sum of squares of a file."""
    with h5py.File(root / name) as file:
        return file["kspace"][()].astype(complex), file["reconstruction_rss"][()]


def line(task: MriMulticoil) -> np.ndarray:
    mask = task.dataset("test")[1].conditions["mask"]
    assert mask.shape == (1, 1, 40)
    return mask[0].numpy()


def close(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, atol=2e-5 * np.abs(expected).max())


def test_a_sample_of_sense_is_the_combination_of_the_measured_coils(files: SimpleNamespace, root: Path) -> None:
    task = task_of(root)
    sample, scale = task.dataset("test")[1], task.dataset("test")._slices._volumes[0].scale
    kspace = files.transform(files.centre(files.inverse(stored(root)[0][1] / scale), SIZE))
    close(sample.conditions["kspace"], kspace * line(task))
    maps = sample.conditions["maps"].numpy()
    assert maps.shape == (4, *SIZE) and sample.input.shape == sample.target.shape == (2, *SIZE)
    np.testing.assert_allclose((np.abs(maps) ** 2).sum(0), 1, rtol=1e-5)
    for image, measured in ((sample.input, kspace * line(task)), (sample.target, kspace)):
        combined = (maps.conj() * files.inverse(measured)).sum(0)
        close(image, np.stack([combined.real, combined.imag]))
    assert 0.5 < float(task.to_display(sample.target).max()) < 10
    assert sample.key == ("file3", "file3", 1)


@pytest.mark.parametrize("compress", [None, 2])
def test_the_target_rss_is_the_reconstruction_of_the_file(root: Path, compress: int | None) -> None:
    task = task_of(root, target="rss", compress=compress)
    dataset = task.dataset("test")
    for index in range(2):
        sample = dataset[index]
        assert sample.input.shape == (1, *SIZE)
        close(sample.target[0], stored(root)[1][index] / dataset._slices._volumes[0].scale)


def test_virtual_coils_and_maps_are_those_of_the_measured_centre(root: Path) -> None:
    sample, whole = (task_of(root, compress=n).dataset("test")[0] for n in (2, None))
    measured = whole.conditions["kspace"].numpy()
    assert sample.conditions["kspace"].shape == sample.conditions["maps"].shape == (2, *SIZE)
    block = measured[:, :, 16:24].reshape(4, -1)  # round(0.2 * 40) lines around 20
    vectors = np.linalg.svd(block)[0][:, :2]
    expected = np.einsum("cv,chw->vhw", vectors.conj(), measured)
    found = sample.conditions["kspace"].numpy()
    phases = (found * expected.conj()).sum((1, 2), keepdims=True)
    close(found, expected * phases / np.abs(phases))
    energy = [float(s.target.square().sum()) for s in (sample, whole)]
    assert 0.9 * energy[1] < energy[0] <= 1.01 * energy[1]
    assert task_of(root, compress=99).dataset("test")[0].conditions["kspace"].shape[0] == 4


@pytest.mark.parametrize("target", ["sense", "rss"])
def test_input_and_conditions_are_those_of_the_undersampled_file(
    files: SimpleNamespace, root: Path, tmp_path: Path, target: str
) -> None:
    """Scale, virtual coils and maps do not depend on samples outside the mask."""
    task = task_of(root, target=target, compress=3)
    mask = line(task)[0].astype(bool)
    path = files.fastmri_file(tmp_path / "new.h5", files.heads(3, 2, SIZE), mask=mask, gain=1e-5)
    for index in range(2):
        full, new = task.dataset("test")[index], task.sample_from_file(path)[index]
        assert new.target is None
        torch.testing.assert_close(new.input, full.input, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            new.conditions["kspace"].abs(), full.conditions["kspace"].abs(), rtol=1e-3, atol=1e-4
        )
        assert torch.equal(new.conditions["mask"], full.conditions["mask"])


def test_k_space_with_gaps_and_without_a_mask_has_the_mask_of_its_support(root: Path, tmp_path: Path) -> None:
    task = task_of(root)
    kspace = stored(root)[0] * line(task)
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["k"] = kspace[0].astype(np.complex64)
    dataset = {"root": tmp_path, "reader": {"name": "hdf5", "kspace": "k", "axes": "coils height width"}}
    generic = i2ikd.create("task", "mri-multicoil", dataset=dataset, mask=LINES)
    sample = generic.sample_from_file(tmp_path / "new.h5")[0]
    np.testing.assert_array_equal(sample.conditions["mask"], line(task)[None])
    assert sample.target is None and sample.input.shape == (2, *WIDE)


def test_stored_maps_are_used(files: SimpleNamespace, tmp_path: Path) -> None:
    maps = np.stack([np.full(SIZE, 3.0), np.full(SIZE, 4j)])
    image = files.heads(0, 1, SIZE)[0]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file["k"], file["s"] = files.transform(maps * image).astype("c8"), maps.astype("c8")
    reader = {"name": "hdf5", "kspace": "k", "maps": "s", "axes": "coils height width"}
    options = {"dataset": {"root": tmp_path, "reader": reader}, "maps": "stored"}
    task = i2ikd.create("task", "mri-multicoil", mask={"acceleration": 1, "axis": 1}, **options)
    sample = task.sample_from_file(tmp_path / "v.h5")[0]
    close(sample.conditions["maps"], maps / 5)
    ratio = torch.complex(*sample.target) / torch.from_numpy(image)
    inside = np.abs(image) > 0.1
    np.testing.assert_allclose(ratio[inside], complex(ratio[inside][0]), rtol=1e-3)


def test_without_crop_images_have_the_size_of_k_space(root: Path) -> None:
    sample = task_of(root, crop="none").dataset("test")[0]
    assert sample.target.shape == (2, *WIDE) and sample.conditions["kspace"].shape == (4, *WIDE)


def test_only_the_axis_along_the_lines_is_cropped_before_the_reconstruction(
    files: SimpleNamespace, tmp_path: Path
) -> None:
    root = files.fastmri_folder(tmp_path, size=(32, 40))
    for path in root.rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            header = file["ismrmrd_header"][()].decode()
            encoded, recon = header.split("<reconSpace>")
            header = f"{encoded}<reconSpace>{recon.replace('<y>40</y>', '<y>36</y>')}"
            del file["ismrmrd_header"]
            file["ismrmrd_header"] = header
    sample = task_of(root).dataset("test")[0]
    assert sample.target.shape == (2, 32, 36) and sample.conditions["kspace"].shape == (4, 32, 40)
    plane = np.ones((64, 40))
    plane[::3, ::2] = 0
    plane[24:40, 12:28] = 1
    np.save(tmp_path / "mask.npy", plane)
    sample = task_of(root, mask={"name": "file", "path": tmp_path / "mask.npy"}).dataset("test")[0]
    assert sample.target.shape == (2, 32, 36) and sample.conditions["kspace"].shape == (4, 64, 40)


def test_padding_is_never_measured(files: SimpleNamespace, tmp_path: Path) -> None:
    root = files.fastmri_folder(tmp_path, padding=3)
    task = task_of(root, mask={**LINES, "offset": 0, "acceleration": 2})
    sample = task.dataset("test")[0]
    assert not sample.conditions["mask"][..., :3].any() and not sample.conditions["mask"][..., -3:].any()
    assert sample.target is not None and task.dataset("train")[0].target is not None
    assert task.describe()["measured acceleration"] == f"{40 / float(sample.conditions['mask'].sum()):.2f}"


def test_the_baselines_are_the_zero_filled_images(files: SimpleNamespace, root: Path) -> None:
    for target in ("sense", "rss"):
        task = task_of(root, target=target)
        batch = Batch.collate([task.dataset("train")[i] for i in range(3)])
        rows = task.baseline(batch)
        images = files.inverse(batch.conditions["kspace"].numpy())
        rss = np.linalg.norm(images, axis=1)
        sense = np.abs((batch.conditions["maps"].numpy().conj() * images).sum(1))
        for name, expected in (("zero-filled-sense", sense), ("zero-filled-rss", rss)):
            assert rows[name].shape == batch.target.shape and rows[name].dtype == torch.float32
            close(np.stack([task.to_display(image) for image in rows[name]]), expected)
        if target == "sense":
            torch.testing.assert_close(rows["zero-filled-sense"], batch.input, rtol=1e-4, atol=1e-5)


def test_results_are_written_in_the_units_of_the_file(root: Path, tmp_path: Path) -> None:
    task = task_of(root, target="rss")
    source = root / "multicoil_test" / "file3.h5"
    samples = task.sample_from_file(source)
    task.write([samples[i].target for i in range(2)], source, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        close(np.moveaxis(file["reconstruction"][()], -1, 0), stored(root)[1])
    complex_task = task_of(root)
    samples = complex_task.sample_from_file(source)
    complex_task.write([samples[i].target for i in range(2)], source, tmp_path / "out.npy")
    written = np.load(tmp_path / "out.npy")
    assert written.dtype == np.complex64
    np.testing.assert_allclose(np.abs(written), stored(root)[1], atol=0.05 * stored(root)[1].max())


@pytest.mark.parametrize("maps", ["low-resolution", "walsh"])
def test_empty_slices_of_new_data_give_empty_images(
    files: SimpleNamespace, root: Path, tmp_path: Path, maps: str
) -> None:
    images = files.heads(3, 2, SIZE)
    images[0] = 0
    path = files.fastmri_file(tmp_path / "new.h5", images, gain=1e-5)
    task = task_of(root, compress=2, maps=maps)
    sample = task.sample_from_file(path)[0]
    network = i2ikd.create("model", "varnet", cascades=1, channels=4, pools=2)
    batch = Batch.collate([sample])
    assert not sample.input.any() and sample.conditions["maps"].isfinite().all()
    assert network(batch.input, **batch.conditions).isfinite().all()


def test_the_default_mask_is_fastmri_s_along_the_phase_encode_axis(root: Path) -> None:
    task = i2ikd.create("task", "mri-multicoil", dataset={"root": root, "reader": "fastmri"})
    assert task.dataset("test")[0].conditions["mask"].shape == (1, 1, 40)
    assert task.describe()["mask"] == "fastmri-random"


def test_a_random_mask_is_drawn_for_each_sample_and_seed(root: Path) -> None:
    dataset = task_of(root, mask={"name": "fastmri-random", "center_fraction": 0.1, "fixed": False}).dataset("train")
    masks = [dataset.sample(index, seed).conditions["mask"] for index in range(2) for seed in (None, 1, 2)]
    assert dataset.varies and len({tuple(mask.flatten().tolist()) for mask in masks}) > 3
    assert torch.equal(dataset.sample(1, 2).input, dataset.sample(1, 2).input)
    assert not task_of(root).dataset("train").varies


def test_the_task_conforms_and_describes_its_data(root: Path) -> None:
    task = task_of(root, compress=3)
    check_task(task, samples=2)
    described = task.describe()
    assert described["coils"] == "3 (at most 3 virtual)" and described["size"] == "32 x 40"
    assert (described["coil maps"], described["target"], described["mask"]) == (
        "low-resolution",
        "sense",
        "fastmri-equispaced",
    )
    inventory = task.inventory()
    assert isinstance(inventory, Inventory)
    (train, _, test) = inventory.splits
    assert (train.subjects, train.slices, dict(test.sizes), dict(test.types)) == (2, 4, {"64 x 40": 1}, {"complex": 1})


def test_the_identity_depends_on_every_option_that_samples_depend_on(root: Path) -> None:
    options: list[dict[str, Any]] = [
        {}, {"mask": {**LINES, "offset": 2}}, {"maps": "walsh"}, {"maps": {"extent": 9}}, {"target": "rss"},
        {"crop": "none"}, {"compress": 2}, {"centered": False}, {"loss": "mse"},
    ]  # fmt: skip
    texts = [json.dumps(task_of(root, **changed).identity()) for changed in options]
    assert len(set(texts)) == len(texts) and not any(str(root) in text for text in texts)
    assert json.dumps(task_of(root, memory_mib=3).identity()) == texts[0]


def test_undersampled_files_are_unlabelled_in_training_and_refused_where_they_are_scored(
    files: SimpleNamespace, root: Path, tmp_path: Path
) -> None:
    mask = line(task_of(root))[0].astype(bool)
    for split in ("train", "val", "test"):
        files.fastmri_file(tmp_path / split / f"{split}.h5", files.heads(3, 1, SIZE), mask=mask)
    task = task_of(tmp_path)
    assert task.dataset("train")[0].target is None
    for split in ("val", "test"):
        with pytest.raises(
            UserError, match=rf"{split}, slice 0: expected fully sampled k-space in the split '{split}'"
        ):
            task.dataset(split)[0]


def test_wrong_options_and_data_are_refused(root: Path) -> None:
    for options, message in (
        ({"target": "image"}, "target = 'image'"),
        ({"maps": "esprit"}, "unknown coil_map 'esprit'; did you mean 'espirit'"),
        ({"compress": 0}, "compress = 0"),
        ({"maps": {"windw": 3}}, "windw"),
    ):
        with pytest.raises(UserError, match=message):
            task_of(root, **options)
    with pytest.raises(UserError, match=r"unknown augmentation 'flip'; the task has none: remove training\.augment"):
        task_of(root).dataset("train", ["flip"])
    with pytest.raises(UserError, match=r"file3, slice 0: .* zero frequency at index 0, got .* centered = true"):
        task_of(root, centered=False).dataset("test")[0]
    with pytest.raises(UserError, match=r"phantom-test-000, slice 0: expected multi-coil k-space .* got image"):
        i2ikd.create("task", "mri-multicoil", dataset="phantom").dataset("test")[0]


def test_a_batch_has_slices_of_one_size_and_number_of_coils(files: SimpleNamespace, tmp_path: Path) -> None:
    forms = ((4, SIZE), (6, SIZE), (4, (24, 40)))
    for number, (coils, size) in enumerate(forms):
        files.fastmri_file(tmp_path / "multicoil_train" / f"{number}.h5", files.heads(number, 3, size), coils)
    batches = SampleBatches(task_of(tmp_path).dataset("train"), batch=2, seed=0)
    found = {tuple(batch.conditions["kspace"].shape) for batch in batches.epoch(0)}
    assert found == {(2, coils, *size) for coils, size in forms}
