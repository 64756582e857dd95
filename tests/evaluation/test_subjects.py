"""Statistics by subject: coverage in simulation, naive oracles, pairing where arms lack subjects."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from i2ikd.errors import UserError
from i2ikd.evaluation.statistics import gap_closed, interval, paired

NAN = math.nan
SUBJECTS = 40
OF_SUBJECT, OF_VOLUME = 1.0, 0.25
"""Standard deviations of the two nested effects: the volumes of a subject are much alike."""
LEVEL = 0.95
BINOMIAL_ERRORS = 4.0
"""Half width of a bound on a simulated rate, in binomial standard errors; fixed seeds, so no run differs."""


def nested(volumes: int, repetition: int, mean: float = 30.0) -> tuple[np.ndarray, list[str]]:
    """Simulate the values [1, subjects * volumes] of one seed: effects of subject and of volume; and their subjects."""
    random = np.random.default_rng([volumes, repetition])
    of_subject = random.normal(0, OF_SUBJECT, (SUBJECTS, 1))
    values = mean + of_subject + random.normal(0, OF_VOLUME, (SUBJECTS, volumes))
    return values.reshape(1, -1), [f"subject{number}" for number in range(SUBJECTS) for _ in range(volumes)]


def expected_coverage(units: int, volumes: int, by_subject: bool) -> float:
    """Coverage of a percentile interval: the bootstrap divides by n, not n - 1, and takes normal for t quantiles.

    An interval that resamples volumes has the variance (s^2 + v^2) / (n m) of a mean of independent values, instead
    of (s^2 + v^2 / m) / n, with s and v the deviations of n subjects and of their m volumes.
    """
    together = OF_SUBJECT**2 + OF_VOLUME**2
    narrowing = 1.0 if by_subject else together / (volumes * OF_SUBJECT**2 + OF_VOLUME**2)
    width = stats.norm.ppf((1 + LEVEL) / 2) * math.sqrt((units - 1) / units * narrowing)
    return float(1 - 2 * stats.t.sf(width, SUBJECTS - 1))


def coverage(volumes: int, by_subject: bool, repetitions: int) -> float:
    covered = 0
    for repetition in range(repetitions):
        values, subjects = nested(volumes, repetition)
        found = interval(values, subjects if by_subject else None, resamples=500, level=LEVEL, seed=repetition)
        covered += found.low <= 30.0 <= found.high
    return covered / repetitions


@pytest.mark.parametrize("volumes", [1, 2, 4])
def test_the_interval_covers_the_truth_whatever_the_number_of_volumes_a_subject(volumes: int) -> None:
    repetitions = 600
    expected = expected_coverage(SUBJECTS, volumes, by_subject=True)  # 94.0 %
    error = math.sqrt(expected * (1 - expected) / repetitions)
    assert coverage(volumes, True, repetitions) == pytest.approx(expected, abs=BINOMIAL_ERRORS * error)


@pytest.mark.parametrize("volumes", [2, 4])
def test_an_interval_that_resamples_volumes_covers_the_truth_too_seldom(volumes: int) -> None:
    """The simulation distinguishes the two: with volumes as subjects, the test above would fail."""
    repetitions = 300
    expected = expected_coverage(SUBJECTS * volumes, volumes, by_subject=False)  # 83 and 68 %
    error = math.sqrt(expected * (1 - expected) / repetitions)
    found = coverage(volumes, False, repetitions)
    assert found == pytest.approx(expected, abs=BINOMIAL_ERRORS * error)
    by_subject = expected_coverage(SUBJECTS, volumes, by_subject=True)
    assert found < by_subject - BINOMIAL_ERRORS * math.sqrt(by_subject * (1 - by_subject) / repetitions)


def test_a_test_that_counts_volumes_finds_differences_where_there_are_none() -> None:
    """Rejections at 5 % of true null hypotheses: 5 % by subject; far more by volume, four of which are much alike."""
    repetitions, reference = 300, np.zeros((1, SUBJECTS * 4))
    rejected = {True: 0, False: 0}
    for repetition in range(repetitions):
        differences, subjects = nested(4, repetition, mean=0.0)
        for by_subject in rejected:
            found = paired(differences, reference, subjects if by_subject else None, resamples=2)
            rejected[by_subject] += found.p < 1 - LEVEL
    error = math.sqrt(LEVEL * (1 - LEVEL) / repetitions)
    assert rejected[True] / repetitions == pytest.approx(1 - LEVEL, abs=BINOMIAL_ERRORS * error)
    assert rejected[False] / repetitions > 1 - LEVEL + BINOMIAL_ERRORS * error


OWNERS = ["b", "a", "b", "c", "b", "c"]
"""Subjects of six volumes, neither sorted nor side by side, and unequal in number."""


def uneven() -> np.ndarray:
    """Values [3 seeds, 6 volumes] with cells missing, one volume of c for all seeds."""
    values = np.random.default_rng(4).normal(30, 2, (3, 6))
    values[0, 2] = values[2, 1] = NAN
    values[:, 5] = NAN
    return values


def drawn_mean(values: np.ndarray, owners: Sequence[str], seeds: Sequence[int], subjects: Sequence[str]) -> float:
    """Average all values of the seeds and subjects drawn, one by one; each draw of a subject brings all its volumes."""
    total, count = 0.0, 0
    for seed in seeds:
        for subject in subjects:
            for volume, owner in enumerate(owners):
                if owner == subject and not math.isnan(values[seed, volume]):
                    total, count = total + float(values[seed, volume]), count + 1
    return total / count if count else NAN


def test_the_bootstrap_means_are_those_of_every_possible_draw() -> None:
    """27 x 27 equally likely draws of three seeds and three subjects, in full, give the exact quantiles."""
    values = uneven()
    draws = itertools.product(itertools.product(range(3), repeat=3), itertools.product("abc", repeat=3))
    means = np.array([drawn_mean(values, OWNERS, seeds, subjects) for seeds, subjects in draws])
    means = np.sort(means[~np.isnan(means)])
    resamples, level = 20_000, 0.8
    found = interval(values, OWNERS, resamples, level)
    assert found.mean == pytest.approx(drawn_mean(values, OWNERS, range(3), "abc"), abs=1e-12)
    assert found.n == 3
    for end, share in ((found.low, (1 - level) / 2), (found.high, (1 + level) / 2)):
        error = math.sqrt(share * (1 - share) / resamples)  # of the share of draws below the true quantile
        lower, upper = np.quantile(means, [share - BINOMIAL_ERRORS * error, share + BINOMIAL_ERRORS * error])
        assert lower - 1e-12 <= end <= upper + 1e-12
    by_volume = interval(values, None, resamples, level)
    assert by_volume.high - by_volume.low < 0.8 * (found.high - found.low)


def test_the_mean_is_that_of_all_volumes_whatever_subject_they_belong_to() -> None:
    values = uneven()
    assert interval(values, OWNERS).mean == interval(values).mean == pytest.approx(np.nanmean(values), rel=1e-14)


def test_with_a_volume_a_subject_nothing_differs_from_volumes() -> None:
    values, reference = np.random.default_rng(5).normal(30, 2, (2, 3, 6))
    names = list("cafebd")
    assert interval(values, names) == interval(values)
    assert paired(values, reference, names) == paired(values, reference)
    assert gap_closed(values, reference, reference + 4, names) == gap_closed(values, reference, reference + 4)


def test_the_order_of_the_volumes_of_a_subject_does_not_matter() -> None:
    values = uneven()
    order = [2, 1, 4, 5, 0, 3]  # subjects appear in the same order, so that the same ones are drawn
    shuffled = interval(values[:, order], [OWNERS[place] for place in order])
    plain = interval(values, OWNERS)
    assert (shuffled.mean, shuffled.low, shuffled.high) == pytest.approx((plain.mean, plain.low, plain.high), rel=1e-12)


def test_the_p_value_is_wilcoxons_over_subjects_of_the_means_of_their_differences() -> None:
    arm, reference = np.random.default_rng(6).normal(30, 2, (2, 3, 12))
    owners = [f"subject{number}" for number in (0, 1, 2, 3, 4, 5, 6, 0, 0, 2, 4, 6)]
    means = [drawn_mean(arm - reference, owners, range(3), [subject]) for subject in dict.fromkeys(owners)]
    found = paired(arm, reference, owners)
    assert found.p == pytest.approx(stats.wilcoxon(means).pvalue)
    assert found.p != pytest.approx(paired(arm, reference).p)
    assert found.n == 7


def test_arms_are_paired_on_the_subjects_that_both_have() -> None:
    """An arm without a subject, the other without one volume of another: both are left out of both arms."""
    arm, reference = np.random.default_rng(7).normal(30, 2, (2, 2, 6))
    arm[:, [0, 2, 4]] = NAN  # all volumes of b
    reference[:, 5] = NAN  # one of two volumes of c
    found = paired(arm, reference, OWNERS)
    assert found == paired(arm[:, [1, 3]], reference[:, [1, 3]], ["a", "c"])
    assert found.n == 2
    shares = gap_closed(arm, reference, reference + 4, OWNERS)
    alone = gap_closed(arm[:, [1, 3]], reference[:, [1, 3]], reference[:, [1, 3]] + 4, ["a", "c"])
    assert (shares.mean, shares.low, shares.high, shares.n) == (alone.mean, alone.low, alone.high, 2)


def test_closure_draws_subjects_with_all_their_volumes() -> None:
    student = np.random.default_rng(8).normal(30, 2, (1, 6))
    width = np.linspace(0.5, 1.5, 6)[None]
    gain = width * np.linspace(0.2, 0.8, 6)[None]
    found = gap_closed(student + gain, student, student + width, OWNERS, resamples=20_000, level=0.8)
    draws = list(itertools.product("abc", repeat=3))
    shares = [drawn_mean(gain, OWNERS, [0], draw) / drawn_mean(width, OWNERS, [0], draw) for draw in draws]
    # 0.1 lies between 2/27 and 3/27, 5 standard errors of a share of 20,000 draws from either: no step is missed
    assert [found.low, found.high] == pytest.approx(np.quantile(shares, [0.1, 0.9], method="inverted_cdf"), rel=1e-12)
    assert found.n == 3


def test_one_subject_has_no_interval_but_over_seeds() -> None:
    values = np.array([[30.0, 31.0, 33.0]])
    alone = interval(values, ["a", "a", "a"])
    assert (alone.mean, alone.n) == (pytest.approx(94 / 3), 1)
    assert math.isnan(alone.low) and math.isnan(alone.high)
    twice = interval(np.concatenate([values, values + 1]), ["a", "a", "a"])
    assert (twice.low, twice.high) == pytest.approx((94 / 3, 97 / 3))


def test_every_volume_has_a_subject() -> None:
    with pytest.raises(UserError, match="subjects: expected one for each of the 6 volumes of the table, got 2"):
        interval(uneven(), ["a", "b"])
