"""Batches of loaders that the user passes: any form, with or without a length, never an empty epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from i2ikd import Batch, UserError
from i2ikd.engine.loader import LoaderBatches, as_batch


def loader(shuffle: bool = True) -> DataLoader[Any]:
    images = torch.arange(10.0).reshape(10, 1, 1, 1).expand(10, 1, 2, 3)
    return DataLoader(TensorDataset(images, images + 0.5), batch_size=3, shuffle=shuffle)


def test_pairs_become_batches() -> None:
    batches = LoaderBatches(loader(shuffle=False), seed=0)
    assert (batches.steps, batches.size, batches.stable) == (4, 3, False)
    (first, *_, last) = batches.epoch(0)
    assert first.input.flatten()[::6].tolist() == [0, 1, 2]
    assert torch.equal(last.target, last.input + 0.5) and len(last) == 1


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    def order(seed: int, number: int, skip: int = 0) -> list[float]:
        batches = LoaderBatches(loader(), seed).epoch(number, skip)
        return [value for batch in batches for value in batch.input[:, 0, 0, 0].tolist()]

    torch.manual_seed(1)
    first = order(7, 0)
    torch.manual_seed(2)
    assert order(7, 0) == first
    assert order(7, 0, skip=2) == first[6:]
    assert order(7, 1) != first and order(8, 0) != first
    assert sorted(first) == list(range(10))


IMAGE = torch.zeros(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (IMAGE, "got a Tensor"),
        ((IMAGE[0], IMAGE[0]), r"expected a floating-point tensor \[B, C, H, W\], got \[1, 2, 2\]"),
        ((IMAGE.long(), IMAGE), "got .* of torch.int64"),
        ((IMAGE, IMAGE.numpy()), "target: expected a tensor .*, got a ndarray"),
        ((IMAGE, IMAGE.expand(2, 1, 2, 2)), "as many targets as inputs in a batch, got 2 and 1"),
        ([IMAGE] * 3, "got a list of 3"),
        ({"image": IMAGE}, "expected a dict with 'input' and 'target', got 'image'"),
        ({"input": 1}, "input: expected a tensor"),
        ({"input": IMAGE, "target": IMAGE, "mask": torch.ones(3, 2)}, "condition 'mask' as .* with B = 1"),
    ],
)
def test_what_is_no_batch_is_refused(item: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        as_batch(item)


def test_tensors_of_a_dict_beside_input_and_target_are_conditions() -> None:
    mask = torch.ones(1, 1, 2, 1)
    batch = as_batch({"input": IMAGE, "target": IMAGE + 1, "mask": mask, "subject": ["anna"]})
    assert batch.conditions == {"mask": mask} and batch.labelled is None
    assert torch.equal(batch.target, IMAGE + 1)
    unlabelled = as_batch({"input": IMAGE, "target": None})
    assert not unlabelled.has_targets and unlabelled.labelled is not None and not unlabelled.labelled.any()


def test_a_batch_is_taken_as_it_is() -> None:
    batch = Batch(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert as_batch(batch) is batch


class Stream(IterableDataset[Any]):
    """Pairs without a length; ``end`` is where it ends, or ends from the second time on."""

    def __init__(self, count: int, later: int | None = None) -> None:
        self.counts = [count]
        self.later = later

    def __iter__(self) -> Iterator[Any]:
        count = self.counts[0]
        if self.later is not None:
            self.counts[0] = self.later
        for index in range(count):
            yield torch.full((1, 2, 2), float(index)), torch.zeros(1, 2, 2)


def test_a_loader_without_a_length_is_counted() -> None:
    batches = LoaderBatches(DataLoader(Stream(5), batch_size=2), 0)
    assert batches.steps == 3
    for number in range(2):
        assert [len(batch) for batch in batches.epoch(number)] == [2, 2, 1]


def test_a_loader_without_an_end_has_the_stated_steps() -> None:
    batches = LoaderBatches(DataLoader(Stream(10**9), batch_size=2), 0, steps=4)
    assert len(list(batches.epoch(0))) == len(list(batches.epoch(1))) == 4


def test_a_loader_that_runs_dry_is_an_error_and_no_empty_epoch() -> None:
    batches = LoaderBatches(DataLoader(Stream(4, later=4), batch_size=2), 0)
    batches._loader = DataLoader(Stream(1), batch_size=2)
    with pytest.raises(UserError, match=r"expected 2 batches in each epoch, the loader ran dry after 1 in epoch 2"):
        list(batches.epoch(1))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (iter([(IMAGE, IMAGE)]), "starts again whenever it is iterated, got a list_iterator"),
        (((IMAGE, IMAGE) for _ in range(2)), "got a generator"),
        ([], "at least one batch in an epoch, got none"),
        (DataLoader(Stream(0)), "at least one batch in an epoch, got none"),
        (IMAGE, "expected a loader of .*, got a Tensor"),
        (Batch(IMAGE, IMAGE), "got a Batch"),
        (7, "got a int"),
    ],
)
def test_what_is_no_loader_is_refused(loader: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoaderBatches(loader, 0)
