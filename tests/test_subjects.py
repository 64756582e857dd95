"""Division of subjects by their names alone, and refusal of names that are parts of one subject."""

from __future__ import annotations

from pathlib import Path

import pytest

from i2ikd.errors import UserError
from i2ikd.subjects import divide_subjects, refuse_parts_of_subjects

ROOT = Path("data")


def test_every_subject_is_in_one_split_and_new_ones_move_few() -> None:
    names = [f"s{number}" for number in range(40)]
    parts = divide_subjects(names, (0.8, 0.1, 0.1), ROOT)
    assert [len(parts[split]) for split in ("train", "val", "test")] == [32, 4, 4]
    assert frozenset().union(*parts.values()) == frozenset(names)
    assert parts == divide_subjects(reversed(names * 2), (0.8, 0.1, 0.1), ROOT)


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_are_no_division_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="shares of train, val and test that sum to 1"):
        divide_subjects(["a", "b", "c"], fractions, ROOT)


def test_fewer_subjects_than_splits_are_refused() -> None:
    with pytest.raises(UserError, match="too few to divide into 3 splits"):
        divide_subjects(["a", "b"], (0.8, 0.1, 0.1), ROOT)


@pytest.mark.parametrize("names", [("p1_slice0", "p1_slice1"), ("scan_img1", "scan_img2")])
def test_parts_of_a_subject_are_refused_with_the_option(names: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="set subject = "):
        refuse_parts_of_subjects(names, ROOT)


def test_numbered_subjects_are_accepted() -> None:
    refuse_parts_of_subjects(["IMG_0001", "IMG_0002", "patient1", "patient2"], ROOT)
