"""Samples are stacked along a leading axis, and refused where that is impossible."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from i2ikd.errors import UserError
from i2ikd.sample import Batch, Sample, SampleKey


def sample(index: int, rows: int = 3, columns: int = 4, lines: int = 5) -> Sample:
    generator = torch.Generator().manual_seed(index)
    return Sample(
        input=torch.randn(1, rows, columns, generator=generator),
        target=torch.randn(2, rows, columns, generator=generator),
        conditions={"mask": torch.randn(lines, generator=generator) > 0},
        key=SampleKey("anna", "head", index),
    )


def test_a_batch_holds_its_samples_in_order() -> None:
    samples = [sample(7), sample(2), sample(5)]
    batch = Batch.collate(samples)
    assert len(batch) == 3
    assert (batch.input.shape, batch.target.shape) == ((3, 1, 3, 4), (3, 2, 3, 4))
    assert batch.keys == [("anna", "head", 7), ("anna", "head", 2), ("anna", "head", 5)]
    for position, one in enumerate(samples):
        assert torch.equal(batch.input[position], one.input)
        assert torch.equal(batch.target[position], one.target)
        assert torch.equal(batch.conditions["mask"][position], one.conditions["mask"])


@pytest.mark.parametrize("other", [sample(9, rows=6), sample(9, columns=3)])
def test_slices_of_unequal_shape_are_refused_by_name(other: Sample) -> None:
    with pytest.raises(UserError, match=r"head\[1\] is \(1, 3, 4\), head\[9\] is .*batch = 1"):
        Batch.collate([sample(1), sample(2), other])


def test_a_target_of_another_shape_is_refused() -> None:
    other = sample(9)
    other.target = torch.zeros(2, 6, 8)
    with pytest.raises(UserError, match="slices of unequal shape"):
        Batch.collate([sample(1), other])


@pytest.mark.parametrize("conditions", [{"mask": torch.zeros(6)}, {}, {"kspace": torch.zeros(5)}])
def test_conditions_of_unequal_shape_are_refused_by_name(conditions: dict[str, torch.Tensor]) -> None:
    other = sample(9)
    other.conditions = conditions
    with pytest.raises(UserError, match=r"conditions of unequal shape.*head\[1\] has .*mask.*head\[9\] has"):
        Batch.collate([sample(1), other])


def test_moving_a_batch_moves_everything_and_keeps_the_keys() -> None:
    batch = Batch.collate([sample(1), sample(2)])
    moved = batch.to("meta", memory_format=torch.channels_last)
    assert {t.device.type for t in (moved.input, moved.target, moved.conditions["mask"])} == {"meta"}
    assert moved.target.is_contiguous(memory_format=torch.channels_last)
    assert moved.conditions["mask"].dtype == torch.bool
    assert moved.keys == batch.keys


def test_a_batch_without_conditions_needs_none() -> None:
    batch = Batch(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
    assert (len(batch), batch.conditions, batch.keys) == (2, {}, [])


def test_a_key_is_subject_volume_and_index() -> None:
    key = SampleKey("anna", "session-1", 7)
    assert key == ("anna", "session-1", 7) == (key.subject, key.volume, key.index)
    assert key == SampleKey(subject="anna", volume="session-1", index=7)
    assert pickle.loads(pickle.dumps(key)) == key
    assert type(pickle.loads(pickle.dumps(key))) is SampleKey
    assert len({key, SampleKey("ben", "session-1", 7), SampleKey("anna", "session-2", 7)}) == 3


def test_a_volume_of_no_known_subject_is_one() -> None:
    assert SampleKey(volume="head", index=7) == ("head", "head", 7)


def test_a_key_of_the_two_former_fields_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"expected \(subject, volume, index\), got \('head', 7\).*volume=\.\.\."):
        SampleKey("head", 7)  # type: ignore[call-overload]


def test_a_key_takes_the_subject_of_its_volume_if_it_has_one() -> None:
    class Stack:
        name = "session-1"

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, np.ndarray]:
            return {}

    stack = Stack()
    assert SampleKey.of(stack, 3) == ("session-1", "session-1", 3)
    stack.subject = "anna"  # type: ignore[attr-defined]
    assert SampleKey.of(stack, 3) == ("anna", "session-1", 3)


def unlabelled(index: int) -> Sample:
    made = sample(index)
    made.target = None
    return made


class TestUnlabelled:
    def test_all_labelled_is_no_flag(self) -> None:
        batch = Batch.collate([sample(1), sample(2)])
        assert batch.labelled is None and batch.has_targets

    def test_a_missing_target_is_zeros_and_flagged(self) -> None:
        batch = Batch.collate([unlabelled(1), sample(2), unlabelled(3), sample(4)])
        assert batch.labelled is not None and batch.labelled.tolist() == [False, True, False, True]
        assert batch.has_targets and batch.target.shape == (4, 2, 3, 4)
        for row, index in ((1, 2), (3, 4)):
            assert torch.equal(batch.target[row], sample(index).target)
        assert not batch.target[[0, 2]].any()

    def test_without_any_target_there_is_none(self) -> None:
        batch = Batch.collate([unlabelled(1), unlabelled(2)])
        assert batch.labelled is not None and not batch.labelled.any()
        assert not batch.has_targets and batch.target.numel() == 0

    @pytest.mark.parametrize("kinds", ["lulu", "uuuu", "llll"])
    def test_selected_samples_keep_all_their_tensors(self, kinds: str) -> None:
        samples = [sample(i) if kind == "l" else unlabelled(i) for i, kind in enumerate(kinds)]
        found = Batch.collate(samples).select(torch.tensor([3, 0]))
        expected = Batch.collate([samples[3], samples[0]])
        assert found.keys == expected.keys and torch.equal(found.input, expected.input)
        assert torch.equal(found.conditions["mask"], expected.conditions["mask"])
        for row, kind in enumerate((kinds[3], kinds[0])):
            assert found.labelled is None or bool(found.labelled[row]) is (kind == "l")
            if kind == "l":
                assert torch.equal(found.target[row], expected.target[row])

    @pytest.mark.parametrize("samples", [[sample(1), unlabelled(2)], [unlabelled(1)]])
    def test_moving_it_keeps_the_flags(self, samples: list[Sample]) -> None:
        batch = Batch.collate(samples)
        moved = batch.to("meta", memory_format=torch.channels_last)
        assert moved.labelled is not None and moved.labelled.device.type == "cpu"
        assert torch.equal(moved.labelled, batch.labelled) and moved.target.shape == batch.target.shape

    def test_targets_of_unequal_shape_are_refused_past_an_unlabelled_sample(self) -> None:
        other = sample(9)
        other.target = torch.zeros(2, 6, 8)
        with pytest.raises(UserError, match="slices of unequal shape"):
            Batch.collate([unlabelled(1), sample(2), other])
