"""Validation batches are put together once, within a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from i2ikd import Batch
from i2ikd.engine.batches import KeptBatches

MEGABYTE = 2**18
"""Float32 values."""


class Maker:
    """Makes three batches of 1 MB and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Iterator[Batch]:
        for number in range(3):
            self.made += 1
            yield Batch(torch.full((1, 1, MEGABYTE // 2, 1), float(number)), torch.zeros(1, 1, MEGABYTE // 2, 1))


def values(batches: KeptBatches) -> list[float]:
    return [float(batch.input[0, 0, 0, 0]) for batch in batches]


@pytest.mark.parametrize(("limit", "made"), [(3, 3), (2.9, 9), (0, 9)])
def test_what_fits_is_made_once(limit: float, made: int) -> None:
    maker = Maker()
    batches = KeptBatches(maker, limit)
    assert [values(batches) for _ in range(3)] == [[0, 1, 2]] * 3
    assert maker.made == made


def test_a_pass_that_was_broken_off_is_not_taken_for_all() -> None:
    batches = KeptBatches(Maker(), 100)
    next(iter(batches))
    assert values(batches) == [0, 1, 2]


def test_a_comparison_validates_on_the_same_batches_in_every_epoch(laboratory: Any) -> None:
    graph = laboratory.graph()
    first, second = list(graph.context.validation()), list(graph.context.validation())
    assert all(a is b for a, b in zip(first, second, strict=True)) and first
    assert [key for batch in first for key in batch.keys] == list(graph.context.dataset("val").keys)
