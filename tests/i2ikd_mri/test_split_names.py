"""Split folders are recognised by the words of their names, or refused with the option that states them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset

from i2ikd import UserError
from i2ikd.split_names import split_of


def fill(root: Path, folders: Mapping[str, list[str]]) -> Path:
    """Write one volume of random values for each name."""
    for number, (folder, names) in enumerate(folders.items()):
        for name in names:
            path = root / folder / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.random.default_rng(number).random((2, 5, 6), np.float32))
    return root


def names(root: Path, split: str, **options: Any) -> list[str]:
    return [volume.name for volume in FolderDataset(root, **options).volumes(split)]


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        FolderDataset(root, **options).volumes("train")
    return str(caught.value)


def remedy(message: str) -> dict[str, Any]:
    """Return the option line of a message, read as TOML."""
    start = message.index("splits = {")
    return tomllib.loads(message[start : message.index("}", start) + 1])


@pytest.mark.parametrize(
    "folders",
    [
        ("TRAIN", "VAL", "TEST"),
        ("Training", "Validation", "Testing"),
        ("singlecoil_train", "singlecoil_val", "singlecoil_test"),
        ("train_set", "val_set", "test_set"),
        ("trainset", "valset", "testset"),
        ("imagesTr", "imagesVal", "imagesTs"),
        ("IXI-train", "IXI-valid", "IXI-test"),
        ("01_train", "02_dev", "03_holdout"),
    ],
)
def test_case_and_affixes_of_split_folders_do_not_matter(tmp_path: Path, folders: tuple[str, str, str]) -> None:
    fill(tmp_path, {folder: [f"s{number}"] for number, folder in enumerate(folders)})
    assert [names(tmp_path, split) for split in ("train", "val", "test")] == [["s0"], ["s1"], ["s2"]]


@pytest.mark.parametrize("name", ["sub-01", "patient07", "trial", "contest", "T1", "site-A", "train_test", "treatment"])
def test_other_names_state_no_split(name: str) -> None:
    assert split_of(name) is None


def test_folders_of_labels_are_no_images(tmp_path: Path) -> None:
    fill(tmp_path, {"imagesTr": ["a", "b"], "labelsTr": ["a", "b"], "imagesTs": ["c"], "labelsTs": ["c"]})
    assert names(tmp_path, "train", hold_out=0.5) + names(tmp_path, "val", hold_out=0.5) in (["a", "b"], ["b", "a"])
    assert names(tmp_path, "test") == ["c"]
    with pytest.raises(UserError, match=r"no folder for the split 'val'.*hold out part of 'train'"):
        FolderDataset(tmp_path).volumes("val")


def test_two_folders_of_one_split_are_refused_with_a_line_that_works(tmp_path: Path) -> None:
    fill(tmp_path, {"train": ["a"], "train_small": ["b"], "val": ["c"], "test": ["d"]})
    message = refusal(tmp_path)
    assert "one folder for the split 'train', got 'train' and 'train_small'" in message
    assert names(tmp_path, "train", **remedy(message)) == ["a"]


def test_a_folder_that_may_be_a_split_is_refused_with_a_line_that_works(tmp_path: Path) -> None:
    fill(tmp_path, {"trainimgs": ["a"], "val": ["c"], "test": ["d"]})
    message = refusal(tmp_path)
    assert "got 'trainimgs', which may be one" in message
    assert names(tmp_path, "train", **remedy(message)) == ["a"]


def test_splits_below_other_folders_are_not_divided_by_subject(tmp_path: Path) -> None:
    fill(tmp_path, {f"images/{split}": [f"of-{split}"] for split in ("train", "val", "test")})
    message = refusal(tmp_path)
    assert "'images/train'" in message
    assert names(tmp_path, "test", **remedy(message)) == ["of-test"]


def test_files_named_after_splits_are_not_divided_by_subject(tmp_path: Path) -> None:
    fill(tmp_path, {".": ["train_1", "train_2", "val_1", "test_1", "test_2"]})
    message = refusal(tmp_path)
    assert all(name in message for name in ("'train_1.npy'", "'val_1.npy'", "'test_1.npy'", "set splits = {}"))
    subject = {"subject": "[^/]+", "splits": {}}
    assert sum(len(names(tmp_path, split, **subject)) for split in ("train", "val", "test")) == 5


def test_an_empty_table_states_that_no_folder_is_a_split(tmp_path: Path) -> None:
    fill(tmp_path, {f"test{number}": ["scan"] for number in range(4)})
    assert "set splits = {" in refusal(tmp_path)
    divided = [name for split in ("train", "val", "test") for name in names(tmp_path, split, splits={})]
    assert sorted(divided) == [f"test{number}/scan" for number in range(4)]
