"""Batches from a loader that the user passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from i2ikd import Batch, UserError
from i2ikd.engine.batches import LoaderBatches, as_batch


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


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (torch.zeros(1, 1, 2, 2), "not Tensor"),
        ((torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)), r"must be \[B, C, H, W\], not \(1, 2, 2\)"),
        ([torch.zeros(1, 1, 2, 2)] * 3, "must yield i2ikd.Batch or"),
        ({"input": 1}, "not dict"),
    ],
)
def test_what_is_no_batch_is_refused(item: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        as_batch(item)


def test_a_batch_is_taken_as_it_is() -> None:
    batch = Batch(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    assert as_batch(batch) is batch


def test_a_loader_without_length_or_batches_is_refused() -> None:
    with pytest.raises(UserError, match="must have a length"):
        LoaderBatches(iter([]), 0)
    with pytest.raises(UserError, match="yields no batches"):
        LoaderBatches([], 0)
