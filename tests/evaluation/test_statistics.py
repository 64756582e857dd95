"""Statistics against scipy, closed forms, hand-computed examples and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from i2ikd.errors import UserError
from i2ikd.evaluation.statistics import Estimate, gap_closed, holm, interval, paired, ranks

NAN = math.nan


def scores(seeds: int, volumes: int, mean: float = 30.0, seed: int = 0) -> np.ndarray:
    """Simulated values: a seed's and a volume's own effect, and noise."""
    random = np.random.default_rng(seed)
    of_seed, of_volume = random.normal(0, 0.3, (seeds, 1)), random.normal(0, 2.0, (1, volumes))
    return mean + of_seed + of_volume + random.normal(0, 0.2, (seeds, volumes))


def test_with_one_seed_the_interval_is_scipys_percentile_bootstrap_over_volumes() -> None:
    values = scores(1, 23)
    ours = interval(values, resamples=20_000, level=0.9)
    theirs = stats.bootstrap(
        (values[0],), np.mean, n_resamples=20_000, method="percentile", confidence_level=0.9, random_state=3
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert ours.n == 23
    assert [ours.low, ours.high] == pytest.approx([theirs.low, theirs.high], abs=0.02)


def test_with_one_volume_the_interval_is_over_seeds() -> None:
    values = scores(9, 1)
    ours = interval(values, resamples=20_000)
    theirs = stats.bootstrap((values[:, 0],), np.mean, n_resamples=20_000, method="percentile", random_state=3)
    found = theirs.confidence_interval
    assert [ours.low, ours.high] == pytest.approx([found.low, found.high], abs=0.02)


def test_seeds_and_volumes_are_drawn_crossed() -> None:
    of_seed, of_volume = np.array([0.0, 1.0, 5.0])[:, None], np.array([0.0, 2.0, 3.0, 10.0, 4.0])[None]
    ours = interval(of_seed + of_volume, resamples=40_000)
    variance = np.var(of_seed) / 3 + np.var(of_volume) / 5  # effects that add: variances of the two means add
    random = np.random.default_rng(1)
    drawn = [(of_seed[random.integers(0, 3, 3)] + of_volume[:, random.integers(0, 5, 5)]).mean() for _ in range(10_000)]
    assert np.std(drawn) == pytest.approx(math.sqrt(variance), rel=0.03)
    assert [ours.low, ours.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.15)


def test_the_interval_is_deterministic_and_follows_its_seed() -> None:
    values = scores(3, 8)
    assert interval(values) == interval(values.copy())
    assert interval(values, seed=1) != interval(values)


def test_the_interval_covers_the_truth_at_about_its_level() -> None:
    covered = 0
    for repetition in range(150):
        found = interval(scores(8, 25, mean=30.0, seed=repetition), resamples=400)
        covered += found.low <= 30.0 <= found.high
    assert 0.87 <= covered / 150 <= 0.995


def test_missing_seeds_and_cells_are_left_out() -> None:
    values = scores(4, 6)
    holes = values.copy()
    holes[2] = NAN
    assert interval(holes) == interval(np.delete(values, 2, axis=0))
    holes[0, 1] = NAN
    found = interval(holes)
    assert found.n == 6
    assert found.mean == pytest.approx(np.nanmean(holes))
    assert found.low < found.mean < found.high


def test_one_value_has_no_interval_and_no_values_have_no_mean() -> None:
    one = interval(np.array([[31.5]]))
    assert (one.mean, one.n) == (31.5, 1)
    assert math.isnan(one.low) and math.isnan(one.high)
    assert one.as_json() == {"mean": 31.5, "low": None, "high": None, "n": 1}
    assert interval(np.full((2, 3), NAN)).as_json() == {"mean": None, "low": None, "high": None, "n": 0}


def test_a_table_has_two_axes() -> None:
    with pytest.raises(UserError, match="table \\[seeds, volumes\\]"):
        interval(np.ones(3))


def test_pairing_removes_what_volumes_have_in_common() -> None:
    reference = scores(3, 10)
    arm = reference + 0.25 + np.random.default_rng(5).normal(0, 0.02, reference.shape)
    found = paired(arm, reference)
    assert found.mean == pytest.approx((arm - reference).mean())
    assert found.low > 0.2 and found.high < 0.3
    assert interval(arm).low < interval(reference).mean
    back = paired(reference, arm)
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low), abs=5e-3)
    assert back.p == found.p


def test_the_p_value_is_wilcoxons_over_volumes_of_differences_averaged_over_seeds() -> None:
    arm, reference = scores(3, 9, 30.2, seed=1), scores(3, 9, 30.0, seed=2)
    expected = stats.wilcoxon(arm.mean(axis=0), reference.mean(axis=0)).pvalue
    assert paired(arm, reference).p == pytest.approx(expected)
    assert 0.001 < expected < 0.999


def test_equal_arms_do_not_differ() -> None:
    values = scores(2, 5)
    found = paired(values, values)
    assert (found.mean, found.low, found.high, found.p, found.n) == (0.0, 0.0, 0.0, 1.0, 5)


@pytest.mark.parametrize("differences", [[0.5], [0.0, 0.5], [0.0, 0.5, 0.5, -0.1], [0.5, 0.5, 0.5]])
def test_few_tied_or_zero_differences_give_a_p_value_without_a_warning(differences: list[float]) -> None:
    reference = np.zeros((1, len(differences)))
    assert 0.2 < paired(np.array([differences]), reference).p <= 1.0


def test_arms_are_paired_on_the_seeds_and_volumes_that_both_have() -> None:
    arm, reference = scores(3, 6, seed=1), scores(3, 6, seed=2)
    arm[1], reference[2], reference[:, 4] = NAN, NAN, NAN
    found = paired(arm, reference)
    kept = [0, 1, 2, 3, 5]
    assert found.n == 5
    assert found.mean == pytest.approx(np.mean(arm[0, kept] - reference[0, kept]))


def test_the_one_row_of_an_arm_without_seeds_stands_for_every_seed() -> None:
    arm, zero_filled = scores(3, 6), scores(1, 6, 24.0, seed=4)
    assert paired(arm, zero_filled) == paired(arm, np.repeat(zero_filled, 3, axis=0))


def test_arms_without_anything_in_common_cannot_be_compared() -> None:
    arm, reference = scores(2, 4), scores(2, 4)
    arm[0], reference[1] = NAN, NAN
    with pytest.raises(UserError, match="nothing to compare"):
        paired(arm, reference)
    with pytest.raises(UserError, match="no gap to close"):
        gap_closed(arm, reference, reference + 1)
    with pytest.raises(UserError, match=r"\(2, 4\) and \(3, 4\)"):
        paired(scores(2, 4), scores(3, 4))


def test_holm_multiplies_the_smallest_by_most_and_never_lets_order_reverse() -> None:
    raw = {"at": 0.04, "fitnet": 0.01, "ofd": 0.03, "sp": 0.005, "none": 0.9}
    # sorted: .005 x5, .01 x4, .03 x3, .04 x2 = .08 but at least .09, .9 x1
    assert holm(raw) == pytest.approx({"at": 0.09, "fitnet": 0.04, "ofd": 0.09, "sp": 0.025, "none": 0.9})
    assert list(holm(raw)) == list(raw)
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_closure_is_the_share_of_the_gap() -> None:
    student = scores(3, 8)
    teacher, arm = student + 0.8, student + 0.6
    found = gap_closed(arm, student, teacher)
    assert (found.mean, found.low, found.high) == pytest.approx((0.75, 0.75, 0.75))
    assert (found.gap, found.gap_too_small, found.n) == (pytest.approx(0.8), False, 8)
    assert gap_closed(student, student, teacher).mean == 0.0
    assert gap_closed(teacher, student, teacher).mean == pytest.approx(1.0)
    assert gap_closed(student - 0.4, student, teacher).mean == pytest.approx(-0.5)


def test_closure_draws_the_same_seeds_and_volumes_for_all_three() -> None:
    student = scores(3, 8)
    width = np.linspace(0.5, 1.5, 8)[None]
    shares = np.linspace(0.2, 0.8, 8)[None]
    found = gap_closed(student + width * shares, student, student + width, resamples=20_000)
    picks = np.random.default_rng(9).integers(0, 8, (20_000, 8))
    expected = (width * shares)[0][picks].sum(axis=1) / width[0][picks].sum(axis=1)
    assert [found.low, found.high] == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=0.01)


def test_closure_of_a_metric_where_lower_is_better() -> None:
    student = scores(3, 8, 0.5) / 100
    teacher, arm = student - 0.04, student - 0.01
    found = gap_closed(arm, student, teacher, higher_is_better=False)
    assert (found.mean, found.gap, found.gap_too_small) == (pytest.approx(0.25), pytest.approx(0.04), False)
    wrong = gap_closed(arm, student, teacher)
    assert math.isnan(wrong.mean) and wrong.gap_too_small is True


def test_a_gap_below_twice_its_deviation_over_seeds_is_too_small() -> None:
    student = np.zeros((3, 4))
    gaps = np.array([0.1, 0.3, 0.5])[:, None]  # mean 0.3, standard deviation 0.2
    assert gap_closed(student + 0.1, student, student + gaps).gap_too_small is True
    assert gap_closed(student + 0.1, student, student + gaps + 0.09).gap_too_small is True
    assert gap_closed(student + 0.1, student, student + gaps + 0.11).gap_too_small is False


def test_with_one_seed_it_is_unknown_whether_the_gap_is_too_small() -> None:
    student = scores(1, 5)
    found = gap_closed(student + 0.1, student, student + 0.4)
    assert (found.mean, found.gap_too_small) == (pytest.approx(0.25), None)


@pytest.mark.parametrize("shift", [0.0, -0.2])
def test_without_a_better_teacher_no_gap_is_closed(shift: float) -> None:
    student = scores(2, 5)
    found = gap_closed(student + 0.1, student, student + shift)
    assert found.gap == pytest.approx(shift)
    assert found.gap_too_small is True
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (document["mean"], document["low"], document["high"]) == (None, None, None)


def estimate(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, low, high, 10)


def test_arms_whose_intervals_overlap_share_a_rank() -> None:
    estimates = {
        "worst": estimate(1, 2), "first": estimate(10, 12), "second": estimate(8, 11), "third": estimate(7, 9),
    }  # fmt: skip
    assert ranks(estimates) == {"worst": 4, "first": 1, "second": 1, "third": 2}
    assert ranks(estimates, higher_is_better=False) == {"worst": 1, "first": 3, "second": 2, "third": 2}


def test_an_arm_without_an_interval_ties_with_all() -> None:
    one = Estimate(5.0, NAN, NAN, 1)
    assert ranks({"a": estimate(10, 12), "one": one, "b": estimate(1, 2)}) == {"a": 1, "one": 1, "b": 2}


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_an_arm_without_any_value_has_no_rank(higher_is_better: bool) -> None:
    estimates = {"a": estimate(10, 12), "none": interval(np.full((2, 3), NAN)), "b": estimate(1, 2)}
    best, worst = ("a", "b") if higher_is_better else ("b", "a")
    assert ranks(estimates, higher_is_better) == {best: 1, worst: 2}
