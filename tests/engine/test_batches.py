"""Validation batches are collated once, within a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from i2ikd import Batch, Sample, SampleDataset, SampleKey
from i2ikd.engine.batches import CachedBatches, ordered

MEBIBYTE = 2**18
"""Float32 values."""


class Maker:
    """Makes three batches of 1 MiB and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Iterator[Batch]:
        for number in range(3):
            self.made += 1
            yield Batch(torch.full((1, 1, MEBIBYTE // 2, 1), float(number)), torch.zeros(1, 1, MEBIBYTE // 2, 1))


def values(batches: CachedBatches) -> list[float]:
    return [float(batch.input[0, 0, 0, 0]) for batch in batches]


@pytest.mark.parametrize(("limit", "made"), [(3, 3), (2.9, 9), (0, 9)])
def test_batches_within_the_limit_are_collated_once(limit: float, made: int) -> None:
    maker = Maker()
    batches = CachedBatches(maker, limit)
    assert [values(batches) for _ in range(3)] == [[0, 1, 2]] * 3
    assert maker.made == made


def test_an_incomplete_pass_is_not_cached() -> None:
    batches = CachedBatches(Maker(), 100)
    next(iter(batches))
    assert values(batches) == [0, 1, 2]


def shaped(index: int, target: tuple[int, ...] | None, coils: int) -> Sample:
    image = None if target is None else torch.zeros(target)
    return Sample(torch.zeros(1, 4, 4), image, {"maps": torch.zeros(coils, 4, 4)}, SampleKey(volume="v", index=index))


class Shaped(SampleDataset):
    """Samples whose targets and conditions have several shapes."""

    samples: ClassVar = [
        shaped(index, target, coils)
        for index, (target, coils) in enumerate(
            [((1, 4, 4), 2), (None, 2), ((1, 4, 4), 2), ((1, 8, 8), 2), (None, 3), ((1, 8, 8), 3), ((1, 4, 4), 3)]
        )
    ]

    @property
    def keys(self) -> list[SampleKey]:
        return [sample.key for sample in self.samples]

    def sample(self, index: int, seed: int | None) -> Sample:
        return self.samples[index]


def test_neighbours_share_a_batch_if_input_target_and_conditions_have_one_shape() -> None:
    batches = list(ordered(Shaped(), 4))
    assert [[key.index for key in batch.keys] for batch in batches] == [[0, 1, 2], [3], [4, 5], [6]]


def test_a_comparison_validates_on_the_same_batches_in_every_epoch(laboratory: Any) -> None:
    graph = laboratory.graph()
    first, second = list(graph.context.validation()), list(graph.context.validation())
    assert all(a is b for a, b in zip(first, second, strict=True)) and first
    assert [key for batch in first for key in batch.keys] == list(graph.context.dataset("val").keys)
