"""Data of the task: which files form a pair, in which split, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from i2ikd_pairs.task import Pairs
from PIL import Image

from i2ikd import UserError, testing
from tests.i2ikd_pairs.conftest import noisy, photo, save


def names(task: Pairs, split: str) -> list[str]:
    return [key.volume for key in task.dataset(split).keys]


def test_split_folders_are_recognised_in_any_case(photos: Path) -> None:
    task = Pairs(photos, channels=3)
    assert [len(names(task, split)) for split in ("train", "val", "test")] == [3, 1, 2]
    lines = task.inventory().lines()
    assert lines[0] == "train: 3 subjects, 3 volumes, 3 slices; 12 x 16; RGB; values 0..255"
    assert "train is input/Train/, val is input/VAL/" in lines[3]


def test_the_first_reading_of_its_files_is_shown(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("i2ikd.reading_progress._SILENT", 0.0)
    Pairs(photos, channels=3).dataset("train")
    assert capsys.readouterr().err.startswith("i2ikd: reading pair 2 of 3, 0:00 left")


def test_sides_may_be_inside_the_folders_of_splits(photos: Path, tmp_path: Path) -> None:
    for side in ("input", "target"):
        for folder in (photos / side).iterdir():
            shutil.copytree(folder, tmp_path / "other" / folder.name / side)
    assert names(Pairs(tmp_path / "other", channels=3), "test") == ["test0", "test1"]


def test_subjects_without_split_folders_are_divided_by_name(flat: Callable[..., Path]) -> None:
    task = Pairs(flat(*(f"cell{n}/field{k}" for n in range(5) for k in range(2))), fractions=(0.6, 0.2, 0.2))
    found = {split: {key.subject for key in task.dataset(split).keys} for split in ("train", "val", "test")}
    assert sorted(len(subjects) for subjects in found.values()) == [1, 1, 3]
    assert len(frozenset().union(*found.values())) == 5


def test_a_table_states_pairs_splits_and_subjects(photos: Path) -> None:
    lines = ["noisy,clean,split,subject"]
    for path in sorted((photos / "input").rglob("*.png")):
        below = path.relative_to(photos / "input").as_posix()
        lines.append(f"input/{below},target/{below},{below.split('/')[0].lower()},person-{below[:2]}{below[-5]}")
    (photos / "pairs.csv").write_text("\n".join(lines))
    task = Pairs(photos / "pairs.csv", input="noisy", target="clean", channels=3)
    keys = task.dataset("train").keys
    assert [key.subject for key in keys] == ["person-Tr0", "person-Tr1", "person-Tr2"]
    assert task.dataset("val")[0].target is not None
    (photos / "pairs.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    with pytest.raises(UserError, match="expected a column 'subject', as inputs are in several folders"):
        Pairs(photos / "pairs.csv", input="noisy", target="clean", channels=3).dataset("train")


def test_an_hdf5_file_has_items_and_subjects(tmp_path: Path) -> None:
    images = np.stack([photo(seed, (12, 16)) for seed in range(8)])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["input"], file["target"] = np.stack([noisy(image, 1) for image in images]), images
    with pytest.raises(UserError, match=r"expected a data set 'subject'.*set subject = '\[\^/\]\+'"):
        Pairs(tmp_path / "data.h5").dataset("train")
    assert len(Pairs(tmp_path / "data.h5", subject="[^/]+").dataset("train")) == 6
    with h5py.File(tmp_path / "data.h5", "a") as file:
        file["subject"] = [b"a", b"a", b"b", b"b", b"c", b"c", b"d", b"d"]
    task = Pairs(tmp_path / "data.h5", fractions=(0.5, 0.25, 0.25))
    assert [len(task.dataset(split)) for split in ("train", "val", "test")] == [4, 2, 2]
    sample = task.dataset("test")[0]
    assert np.array_equal(sample.target.numpy()[0] * np.float32(255), images[int(sample.key.volume)])


def test_the_conformance_check_passes(photos: Path) -> None:
    testing.check_task(Pairs(photos, channels=3, patch=(8, 8), patches=2))
    testing.check_task(Pairs(photos, channels=3, patch=(8, 8), loss="mse"))


class TestRefusals:
    def refused(self, root: Path, **options: Any) -> str:
        with pytest.raises(UserError) as error:
            Pairs(root, **options).inventory()
        return str(error.value)

    def test_colours_are_not_turned_to_grey(self, photos: Path) -> None:
        text = self.refused(photos)
        assert "expected an input with 1 channel(s) (grey), got 3 (RGB); set channels = 3" in text

    def test_a_grey_target_of_colours(self, photos: Path) -> None:
        file = photos / "target" / "Test" / "test1.png"
        Image.open(file).convert("L").save(file)
        assert "expected a target with 3 channel(s) (RGB), got 1 (grey)" in self.refused(photos, channels=3)

    def test_a_target_of_another_size(self, photos: Path) -> None:
        file = photos / "target" / "Train" / "train2.png"
        Image.open(file).resize((32, 24)).save(file)
        assert "set scale = 2" in self.refused(photos, channels=3)

    def test_an_input_without_target(self, photos: Path) -> None:
        (photos / "target" / "Train" / "train1.png").unlink()
        text = self.refused(photos, channels=3)
        assert "train1.png: expected a target of this name, got none (1 inputs" in text and "unlabelled = true" in text

    def test_a_target_without_input(self, photos: Path) -> None:
        (photos / "input" / "Train" / "train1.png").unlink()
        assert "train1.png: expected an input of this name" in self.refused(photos, channels=3)

    def test_two_files_of_one_name(self, photos: Path) -> None:
        save(photos / "input" / "Train" / "train1.tif", photo(1))
        assert "got 'train1.png' and 'train1.tif'" in self.refused(photos, channels=3)

    def test_one_image_in_two_splits(self, photos: Path) -> None:
        shutil.copy(photos / "input" / "Train" / "train0.png", photos / "input" / "Test" / "test0.png")
        assert "have one content" in self.refused(photos, channels=3)

    def test_a_subject_in_two_splits(self, photos: Path) -> None:
        for side in ("input", "target"):
            (photos / side / "Test" / "test0.png").rename(photos / side / "Test" / "train0.png")
        assert "'train0' is in both 'train' and 'test'" in self.refused(photos, channels=3)
        assert len(Pairs(photos, channels=3, repeated_names="distinct").dataset("test")) == 2

    def test_parts_of_a_subject_without_the_option(self, flat: Callable[..., Path]) -> None:
        root = flat(*(f"p{n}_slice{k}" for n in range(4) for k in range(2)))
        assert r"set subject = '([^/]+)_slice\d+'" in self.refused(root)
        assert len(Pairs(root, subject=r"([^/]+)_slice\d+", fractions=(0.5, 0.25, 0.25)).dataset("val")) == 2

    def test_values_outside_of_the_range(self, tmp_path: Path) -> None:
        for number in range(4):
            for side in ("input", "target"):
                path = tmp_path / side / f"s{number}.npy"
                path.parent.mkdir(exist_ok=True)
                np.save(path, np.full((8, 8), 100.0 * number - 1000 + (side == "input"), np.float32))
        assert "got -999..-999 (float32); set value_range" in self.refused(tmp_path)
        task = Pairs(tmp_path, value_range=(-1000, 1000))
        datasets = [task.dataset(split) for split in ("train", "val", "test")]
        values = sorted(float(dataset[i].target.max()) for dataset in datasets for i in range(len(dataset)))
        assert values == pytest.approx([0.0, 0.05, 0.1, 0.15])

    def test_a_patch_larger_than_an_image(self, photos: Path) -> None:
        assert "at least 16 x 16" in self.refused(photos, channels=3, patch=(16, 16))

    def test_a_folder_without_sides(self, tmp_path: Path) -> None:
        (tmp_path / "noisy").mkdir()
        assert "expected folders input/ and target/" in self.refused(tmp_path)
        assert "no such file or folder" in self.refused(tmp_path / "missing")


class TestSamples:
    def test_input_and_target_change_alike(self, photos: Path) -> None:
        for path in (photos / "target").rglob("*.png"):
            image = np.asarray(Image.open(path))
            save(photos / "input" / path.relative_to(photos / "target"), 255 - image)
        dataset = Pairs(photos, channels=3, patch=(8, 8), patches=3).dataset("train", ["flip", "rotate90"])
        assert len(dataset) == 9 and dataset.varies
        for index in range(9):
            sample = dataset.sample(index, 40 + index)
            assert sample.input.shape == (3, 8, 8)
            assert np.allclose(sample.input.numpy() + sample.target.numpy(), 1, atol=1e-6)

    def test_the_target_of_a_patch_has_the_place_of_the_input(self, photos: Path) -> None:
        for path in (photos / "target").rglob("*.png"):
            image = np.asarray(Image.open(photos / "input" / path.relative_to(photos / "target")))
            save(path, image.repeat(2, 0).repeat(2, 1))
        dataset = Pairs(photos, channels=3, scale=2, patch=(5, 6)).dataset("train")
        sample = dataset.sample(1, 7)
        assert np.array_equal(sample.input.numpy().repeat(2, 1).repeat(2, 2), sample.target.numpy())

    def test_validation_has_the_centre_and_tests_whole_images(self, photos: Path) -> None:
        task = Pairs(photos, channels=3, patch=(8, 8), patches=4)
        assert not task.dataset("val").varies and task.dataset("val")[0].input.shape == (3, 8, 8)
        assert task.dataset("test")[0].input.shape == (3, 12, 16)

    def test_inputs_without_target_are_a_split(self, photos: Path) -> None:
        (photos / "target" / "Train" / "train1.png").unlink()
        task = Pairs(photos, channels=3, unlabelled=True)
        assert names(task, "train") == ["train0", "train2"]
        sample = task.dataset("unlabelled")[0]
        assert sample.target is None and sample.key.volume == "train1"
        assert "passed over: 1 (without a target: the split 'unlabelled'), e.g. train1" in task.inventory().lines()


class TestIdentity:
    def test_depends_on_content_and_not_on_place(self, photos: Path, tmp_path: Path) -> None:
        before = Pairs(photos, channels=3).identity()
        shutil.copytree(photos, tmp_path / "moved")
        assert Pairs(tmp_path / "moved", channels=3).identity() == before
        save(tmp_path / "moved" / "target" / "VAL" / "val0.png", photo(77))
        assert Pairs(tmp_path / "moved", channels=3).identity() != before

    def test_a_test_file_is_in_the_test_identity_alone(self, photos: Path) -> None:
        before = Pairs(photos, channels=3)
        identities = before.identity(), before.test_identity()
        save(photos / "target" / "Test" / "test0.png", photo(78))
        after = Pairs(photos, channels=3)
        assert after.identity() == identities[0] and after.test_identity() != identities[1]
