"""Inventory of a task's data: derived from its samples, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from i2ikd import FileSummary, Inventory, PassedOver, Sample, SampleDataset, SampleKey, SplitInventory, Task
from i2ikd.inventory import summarise_split


class Ramps(SampleDataset):
    """Three subjects with two slices each; slice n has the values 0..n."""

    @property
    def keys(self) -> Sequence[SampleKey]:
        return [SampleKey(f"s{number // 2}", "scan", number % 2) for number in range(6)]

    def sample(self, index: int, seed: int | None) -> Sample:
        image = torch.linspace(0, index, 12).reshape(1, 3, 4)
        return Sample(image, image, {}, self.keys[index])


class RampTask(Task):
    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        return Ramps()

    def identity(self) -> dict[str, Any]:
        return {}


def test_a_task_without_files_is_described_by_a_few_samples() -> None:
    inventory = RampTask().inventory()
    assert [split.split for split in inventory.splits] == ["train", "val", "test"]
    assert inventory.splits[0] == SplitInventory("train", 3, 3, 6, {"3 x 4": 3}, {"real": 3}, 0.0, 5.0, 3)
    assert inventory.lines()[2] == "test: 3 subjects, 3 volumes, 6 slices; 3 x 4; real; values 0..5"


def test_differing_sizes_and_types_are_counted() -> None:
    images = [np.ones((5, 6)), np.ones((5, 6)), np.full((4, 6), 2 + 1j)]
    split = summarise_split("val", Ramps().keys, images, 3)
    assert (
        split.line() == "val: 3 subjects, 3 volumes, 6 slices; 5 x 6 (2), 4 x 6 (1); real (2), complex (1); values 1..1"
    )


def test_what_was_inspected_left_out_and_passed_over_is_stated() -> None:
    split = SplitInventory("train", 1, 4, 9, {"5 x 6": 2}, {"complex": 2}, inspected=2, left_out=1)
    files = FileSummary({".npy": 4}, "divided by folder", [PassedOver("hidden", 2, "train/.a")])
    assert Inventory([split], files).lines() == [
        "train: 1 subject, 4 volumes, 9 slices; 5 x 6; complex; of 2 volumes inspected; 1 slice left out: all zero",
        "files: 4 .npy; divided by folder",
        "passed over: 2 (hidden), e.g. train/.a",
    ]


def test_json_has_every_number() -> None:
    document = json.loads(json.dumps(RampTask().inventory().as_json()))
    assert document["splits"][1]["volumes"] == 3 and document["files"] is None
