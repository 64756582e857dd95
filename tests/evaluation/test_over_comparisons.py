"""Means over several comparisons, against a bootstrap written as loops."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

from i2ikd.errors import UserError
from i2ikd.evaluation.statistics import Values, mean_difference, mean_gap_closed, paired


class Made(NamedTuple):
    arm: np.ndarray
    student: np.ndarray
    teacher: np.ndarray
    subjects: list[str]


def made(seeds: int, subjects: int, gain: float, gap: float, seed: int) -> Made:
    """Two volumes of each subject; effects of seeds and subjects on the differences."""
    random = np.random.default_rng(seed)
    names = [f"s{index // 2}" for index in range(2 * subjects)]
    student = random.normal(30, 2, (seeds, 2 * subjects))

    def shift(mean: float) -> np.ndarray:
        of_subject = np.repeat(random.normal(0, 0.3, (1, subjects)), 2, axis=1)
        return mean + random.normal(0, 0.1, (seeds, 1)) + of_subject

    return Made(student + shift(gain), student, student + shift(gap), names)


COMPARISONS = [made(3, 8, 0.5, 1.0, 0), made(2, 5, 0.1, 0.6, 1), made(1, 4, 0.3, 0.8, 2)]


def naive_draws(tables: list[tuple[np.ndarray, list[str]]], draws: int) -> np.ndarray:
    """Return means over the comparisons of redrawn differences; each comparison has its own draw."""
    random = np.random.default_rng(99)
    means = []
    for _ in range(draws):
        total = 0.0
        for table, names in tables:
            subjects = sorted(set(names))
            rows = random.integers(0, len(table), len(table))
            chosen = random.integers(0, len(subjects), len(subjects))
            columns = [n for one in chosen for n, name in enumerate(names) if name == subjects[one]]
            total += table[rows][:, columns].mean() / len(tables)
        means.append(total)
    return np.array(means)


def test_every_comparison_counts_equally_and_has_draws_of_its_own() -> None:
    found = mean_difference([Values([arm, student], names) for arm, student, _, names in COMPARISONS], 20_000)
    tables = [(arm - student, names) for arm, student, _, names in COMPARISONS]
    draws = naive_draws(tables, 4000)
    assert found.mean == pytest.approx(np.mean([table.mean() for table, _ in tables]))
    assert found.n == 8 + 5 + 4
    deviation = draws.std()
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.15 * deviation)


def test_one_comparison_is_its_paired_difference() -> None:
    arm, student, _, names = COMPARISONS[0]
    found, expected = mean_difference([Values([arm, student], names)]), paired(arm, student, names)
    assert (found.mean, found.low, found.high, found.n) == (expected.mean, expected.low, expected.high, expected.n)


def test_the_share_is_that_of_the_mean_gap_on_common_seeds() -> None:
    cells = [Values([arm, student, teacher], names) for arm, student, teacher, names in COMPARISONS]
    gains = np.mean([(arm - student).mean() for arm, student, _, _ in COMPARISONS])
    gaps = np.mean([(teacher - student).mean() for _, student, teacher, _ in COMPARISONS])
    found = mean_gap_closed(cells)
    assert found.mean == pytest.approx(gains / gaps) and found.low < found.mean < found.high
    arm, student, teacher, names = COMPARISONS[0]
    one_seed = np.where(np.arange(3)[:, None] == 1, arm, math.nan)
    share = mean_gap_closed([Values([one_seed, student, teacher], names)])
    assert share.mean == pytest.approx((arm - student)[1].mean() / (teacher - student)[1].mean())


def test_without_a_better_teacher_there_is_no_share() -> None:
    arm, student, _, names = COMPARISONS[0]
    for teacher, upward in ((student, True), (student - 1, True), (student + 1, False)):
        found = mean_gap_closed([Values([arm, student, teacher], names)], upward)
        assert math.isnan(found.mean) and math.isnan(found.low) and found.n == 8
    downward = mean_gap_closed([Values([-arm, -student, -COMPARISONS[0].teacher], names)], higher_is_better=False)
    assert downward.mean == pytest.approx(mean_gap_closed([Values([*COMPARISONS[0][:3]], names)]).mean)


def test_comparisons_without_common_values_are_refused() -> None:
    arm, student, _, names = COMPARISONS[0]
    with pytest.raises(UserError, match="at least one comparison, got none"):
        mean_difference([])
    with pytest.raises(UserError, match="no volume of one seed in common"):
        mean_difference([Values([arm, np.full_like(student, math.nan)], names)])
