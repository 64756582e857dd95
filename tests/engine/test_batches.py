"""Validation batches are collated once, within a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from i2ikd import Batch, Sample, SampleDataset, SampleKey, UserError
from i2ikd.engine.batches import CachedBatches, SampleBatches, ordered

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


class OfSizes(SampleDataset):
    """Samples whose input is filled with the index, and whose width is given."""

    varies = False

    def __init__(self, widths: list[int], described: bool = True) -> None:
        self._widths, self._described = widths, described

    @property
    def keys(self) -> list[SampleKey]:
        return [SampleKey(volume="head", index=index) for index in range(len(self._widths))]

    @property
    def shapes(self) -> list[str] | None:
        return [f"4 x {width}" for width in self._widths] if self._described else None

    def sample(self, index: int, seed: int | None) -> Sample:
        image = torch.full((1, 4, self._widths[index]), float(index))
        return Sample(image, image, {}, self.keys[index])


def indices(batches: SampleBatches, number: int, **options: Any) -> list[list[int]]:
    return [batch.input[:, 0, 0, 0].int().tolist() for batch in batches.epoch(number, **options)]


class TestShapes:
    """Thirteen samples of width 6, and eight of width 3, in batches of 4: three batches and two."""

    widths: ClassVar = [6, 3, 6, 6, 3, 3, 6, 6, 3, 6, 6, 6, 3, 6, 6, 3, 3, 6, 6, 6, 3]

    def test_a_batch_has_one_shape_and_no_sample_is_in_two(self) -> None:
        batches = SampleBatches(OfSizes(self.widths), batch=4, seed=0)
        found = indices(batches, 0)
        assert batches.steps == len(found) == 5
        assert all(len(batch) == 4 and len({self.widths[index] for index in batch}) == 1 for batch in found)
        used = [index for batch in found for index in batch]
        assert len(set(used)) == 20

    def test_shapes_alternate_and_every_sample_is_used_in_some_epoch(self) -> None:
        batches = SampleBatches(OfSizes(self.widths), batch=4, seed=0)
        epochs = [indices(batches, number) for number in range(20)]
        assert {index for epoch in epochs for batch in epoch for index in batch} == set(range(21))
        assert len({tuple(self.widths[batch[0]] for batch in epoch) for epoch in epochs}) > 3

    def test_a_part_and_a_rest_are_those_of_the_whole_epoch(self) -> None:
        batches = SampleBatches(OfSizes(self.widths), batch=4, seed=0)
        whole = indices(batches, 3)
        assert indices(batches, 3, skip=2) == whole[2:]
        assert indices(batches, 3, part=(1, 2)) == [batch[2:] for batch in whole]

    def test_descriptions_of_equal_samples_change_nothing(self) -> None:
        described, plain = (SampleBatches(OfSizes([6] * 21, known), batch=4, seed=5) for known in (True, False))
        assert indices(described, 2) == indices(plain, 2)

    def test_fewer_samples_of_a_shape_than_a_batch_has_are_refused(self) -> None:
        with pytest.raises(UserError, match=r"expected at most 3, .* slices of 4 x 5, .* got 4; set a smaller batch"):
            SampleBatches(OfSizes([6] * 9 + [5] * 3), batch=4, seed=0)


def test_a_comparison_validates_on_the_same_batches_in_every_epoch(laboratory: Any) -> None:
    graph = laboratory.graph()
    first, second = list(graph.context.validation()), list(graph.context.validation())
    assert all(a is b for a, b in zip(first, second, strict=True)) and first
    assert [key for batch in first for key in batch.keys] == list(graph.context.dataset("val").keys)
