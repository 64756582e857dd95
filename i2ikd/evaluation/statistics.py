"""Intervals, paired differences, closed gaps and ranks of arms, from their per-volume values [seeds, volumes].

A missing seed or cell is NaN. An arm that trains nothing has one row, which stands for every seed.

Means are over all values: a subject weighs as much as it has volumes. All intervals are percentile intervals of a
crossed bootstrap: seeds and subjects are drawn with replacement, each on its own, because both a new training run and
a new patient could have come out differently (Owen, "The pigeonhole bootstrap", 2007). A subject is drawn with all of
its volumes, which are no independent patients (cluster bootstrap; Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8), and the mean over all values drawn is computed again. With few seeds or few subjects
such intervals are, if anything, too narrow. Results depend on nothing but the arguments.

``subjects`` names the subject of every volume (column), in any order; without it, every volume is a subject.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from i2ikd.errors import UserError
from i2ikd.evaluation.bootstrap import count_subjects, match_tables, percentiles, resampled_means, subject_sums


@dataclass(frozen=True)
class Estimate:
    """A mean over the values of ``n`` subjects, with its interval.

    With one subject and one seed there is nothing to draw, and the ends of the interval are NaN.
    """

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, Any]:
        """Return a dict whose undefined numbers are ``None``."""
        return _json(self)


@dataclass(frozen=True)
class Difference:
    """Mean of arm minus reference over ``n`` subjects, its interval, and the two-sided Wilcoxon signed-rank p-value."""

    mean: float
    low: float
    high: float
    p: float
    n: int

    def as_json(self) -> dict[str, Any]:
        """Return a dict whose undefined numbers are ``None``."""
        return _json(self)


@dataclass(frozen=True)
class GapClosed:
    """The share (arm - student) / (teacher - student) of the gap that an arm closes, with its interval.

    Attributes:
        mean: 0 is the student, 1 the teacher; NaN, like the interval, where the teacher is not better.
        low: lower end.
        high: upper end.
        n: number of subjects.
        gap: how much better the teacher is than the student, positive if it is, in the metric's unit.
        gap_too_small: the gap is below twice its standard deviation over seeds, so that a share of it
            means little; ``None`` for one seed, which has no standard deviation.
    """

    mean: float
    low: float
    high: float
    n: int
    gap: float
    gap_too_small: bool | None

    def as_json(self) -> dict[str, Any]:
        """Return a dict whose undefined numbers are ``None``."""
        return _json(self)


def _json(result: Estimate | Difference | GapClosed) -> dict[str, Any]:
    values = asdict(result)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def interval(
    values: np.ndarray,
    subjects: Sequence[str] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return the mean of ``values`` [seeds, volumes] with its crossed-bootstrap interval.

    NaN cells are left out; without any value the estimate is NaN with n = 0.

    Args:
        values: one value a seed and volume.
        subjects: the subject of each volume; ``None``: every volume is a subject.
        resamples: draws of the bootstrap.
        level: of the interval, 0 to 1.
        seed: of the draws.

    Raises:
        UserError: no table, or another number of subjects than of volumes.
    """
    (table,), owners = match_tables([values], subjects)
    count = count_subjects(owners)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    means = resampled_means([table], owners, resamples, seed)[:, 0]
    low, high = percentiles(means, level, len(table), count)
    return Estimate(float(np.nanmean(table)), low, high, count)


def paired(
    arm: np.ndarray,
    reference: np.ndarray,
    subjects: Sequence[str] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two arms [seeds, volumes] on the seeds and volumes that both have.

    The interval is that of the mean difference; ``interval`` describes the arguments. The p-value is over subjects,
    each with the mean of its differences over volumes and seeds, which are no independent patients. It is 1 if all
    differences are 0.

    Raises:
        UserError: the two have no seed and volume in common.
    """
    (left, right), owners = match_tables([arm, reference], subjects)
    difference = left - right
    if difference.size == 0:
        raise UserError("the two arms have no volume of one seed in common: there is nothing to compare")
    names = [str(owner) for owner in owners]
    found = interval(difference, names, resamples, level, seed)
    counts = subject_sums(~np.isnan(difference), owners).sum(axis=0)
    per_subject = subject_sums(difference, owners).sum(axis=0) / counts
    return Difference(found.mean, found.low, found.high, _signed_rank(per_subject), found.n)


def _signed_rank(differences: np.ndarray) -> float:
    if not np.any(differences):
        return 1.0
    from scipy.stats import wilcoxon  # takes long to import, and training does not need it

    with warnings.catch_warnings():
        # older scipy warns of a normal approximation when few differences hold a zero or a tie
        warnings.simplefilter("ignore", UserWarning)
        return float(wilcoxon(differences).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number (Holm 1979): family-wise, for any dependence between them.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for index, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - index) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def gap_closed(
    arm: np.ndarray,
    student: np.ndarray,
    teacher: np.ndarray,
    subjects: Sequence[str] | None = None,
    higher_is_better: bool = True,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> GapClosed:
    """Return the share of the student-teacher gap that an arm closes; all three are [seeds, volumes].

    Means are over the seeds and volumes that all three have, and the bootstrap draws the same seeds and subjects for
    all three; ``interval`` describes the arguments. The gap itself is computed on the seeds and volumes that
    student and teacher have in common.

    Raises:
        UserError: the three have no seed and volume in common.
    """
    sign = 1.0 if higher_is_better else -1.0
    tables, owners = match_tables([arm, student, teacher], subjects)
    count = count_subjects(owners)
    if count == 0:
        raise UserError("arm, student and teacher have no volume of one seed in common: there is no gap to close")
    gap, too_small = _gap(student, teacher, sign)
    own, plain, best = (float(np.nanmean(table)) for table in tables)
    if not sign * (best - plain) > 0:
        return GapClosed(math.nan, math.nan, math.nan, count, gap, True)
    means = resampled_means(tables, owners, resamples, seed)
    gaps = means[:, 2] - means[:, 1]
    defined = gaps != 0
    shares = (means[defined, 0] - means[defined, 1]) / gaps[defined]
    low, high = percentiles(shares, level, len(tables[0]), count)
    return GapClosed((own - plain) / (best - plain), low, high, count, gap, too_small)


class Values(NamedTuple):
    """Values [seeds, volumes] of arms in one comparison, with the subject of each volume."""

    arms: Sequence[np.ndarray]
    subjects: Sequence[str]


def mean_difference(
    comparisons: Sequence[Values], resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the mean of arm minus reference over several comparisons, each of which counts equally.

    Seeds and subjects of each comparison are drawn on their own, as they are other trainings and other patients. ``n``
    is the number of subjects in all comparisons.

    Args:
        comparisons: arm and reference of each.
        resamples: draws of the bootstrap.
        level: of the interval, 0 to 1.
        seed: of the draws.

    Raises:
        UserError: no comparison, or one whose arms have no seed and volume in common.
    """
    matched = _match_each(comparisons)
    tables = [(arm - reference, owners) for (arm, reference), owners in matched]
    return _over_comparisons(_mean(tables), _mean_draws(tables, resamples, seed), tables, level)


def mean_gap_closed(
    comparisons: Sequence[Values],
    higher_is_better: bool = True,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return the share that an arm closes of the mean gap of several comparisons.

    It is a quotient of two means over comparisons under the same draws: arm minus student over teacher minus student;
    NaN where the teachers are not better in the mean.

    Args:
        comparisons: arm, student and teacher of each.
        higher_is_better: whether larger values are better.
        resamples: draws of the bootstrap.
        level: of the interval, 0 to 1.
        seed: of the draws.

    Raises:
        UserError: as ``mean_difference``.
    """
    matched = _match_each(comparisons)
    gains = [(arm - student, owners) for (arm, student, _), owners in matched]
    gaps = [(teacher - student, owners) for (_, student, teacher), owners in matched]
    gap = _mean(gaps)
    if not (gap if higher_is_better else -gap) > 0:
        return Estimate(math.nan, math.nan, math.nan, sum(count_subjects(owners) for _, owners in matched))
    gain_draws, gap_draws = _mean_draws(gains, resamples, seed), _mean_draws(gaps, resamples, seed)
    defined = gap_draws != 0
    return _over_comparisons(_mean(gains) / gap, gain_draws[defined] / gap_draws[defined], gains, level)


_Owned = tuple[np.ndarray, np.ndarray]
"""A table [seeds, volumes] and the subject of each volume as a number."""


def _match_each(comparisons: Sequence[Values]) -> list[tuple[list[np.ndarray], np.ndarray]]:
    if not comparisons:
        raise UserError("a mean over comparisons: expected at least one comparison, got none")
    matched = [match_tables(arms, subjects) for arms, subjects in comparisons]
    if any(tables[0].size == 0 for tables, _ in matched):
        raise UserError("the arms have no volume of one seed in common: there is nothing to compare")
    return matched


def _mean(tables: Sequence[_Owned]) -> float:
    return float(np.mean([np.nanmean(table) for table, _ in tables]))


def _mean_draws(tables: Sequence[_Owned], resamples: int, seed: int) -> np.ndarray:
    """Return [draws]: means over the comparisons, each of which has draws of its own."""
    draws = [
        resampled_means([table], owners, resamples, seed + place)[:, 0] for place, (table, owners) in enumerate(tables)
    ]
    length = min(map(len, draws))  # with cells missing, a draw can hold no value at all
    return np.mean([column[:length] for column in draws], axis=0)


def _over_comparisons(mean: float, draws: np.ndarray, tables: Sequence[_Owned], level: float) -> Estimate:
    """Return an estimate over comparisons with the interval of its draws."""
    subjects = [count_subjects(owners) for _, owners in tables]
    low, high = percentiles(draws, level, max(len(table) for table, _ in tables), max(subjects))
    return Estimate(mean, low, high, sum(subjects))


def _gap(student: np.ndarray, teacher: np.ndarray, sign: float) -> tuple[float, bool | None]:
    (plain, best), _ = match_tables([student, teacher])
    per_seed = sign * np.nanmean(best - plain, axis=1)
    gap = sign * float(np.nanmean(best - plain))
    if not gap > 0:
        return gap, True
    if len(per_seed) < 2:
        return gap, None
    return gap, bool(gap < 2 * np.std(per_seed, ddof=1))


def ranks(estimates: Mapping[str, Estimate], higher_is_better: bool = True) -> dict[str, int]:
    """Rank arms: 1 plus the number of arms that are better with their whole interval.

    Arms whose intervals overlap with the best one's therefore share rank 1. An arm without an interval (one
    subject and one seed) ties with every other. An arm without any value (a mean that is NaN) has no rank: it is left
    out.
    """
    ranked = {name: estimate for name, estimate in estimates.items() if not math.isnan(estimate.mean)}

    def better(one: Estimate, other: Estimate) -> bool:
        return one.low > other.high if higher_is_better else one.high < other.low

    return {name: 1 + sum(better(other, estimate) for other in ranked.values()) for name, estimate in ranked.items()}
