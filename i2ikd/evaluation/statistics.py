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
from typing import Any

import numpy as np

from i2ikd.bounded_cache import BoundedCache
from i2ikd.errors import UserError


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


def _table(values: np.ndarray) -> np.ndarray:
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise UserError(f"values of an arm are a table [seeds, volumes], not an array of shape {table.shape}")
    return table


def _matched(
    tables: Sequence[np.ndarray], subjects: Sequence[str] | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Broadcast the tables to one shape, with NaN wherever one of them has no value; drop empty rows and columns.

    Returns:
        The tables [seeds, volumes], and each volume's subject [volumes] as a number, 0, 1, ... in order of appearance.
    """
    try:
        stack = np.stack(np.broadcast_arrays(*(_table(t) for t in tables)))
    except ValueError:
        shapes = " and ".join(str(np.shape(t)) for t in tables)
        raise UserError(f"arms are compared on the same seeds and volumes, not on tables of {shapes}") from None
    present = ~np.isnan(stack).any(axis=0)
    stack = np.where(present, stack, np.nan)
    seeds, volumes = present.any(axis=1), present.any(axis=0)
    return list(stack[:, seeds][:, :, volumes]), _numbered(subjects, volumes)


def _numbered(subjects: Sequence[str] | None, present: np.ndarray) -> np.ndarray:
    """Number the subjects of the columns that are ``present`` [volumes] in order of appearance."""
    if subjects is None:
        return np.arange(np.count_nonzero(present))
    if len(subjects) != len(present):
        raise UserError(
            f"subjects: expected one for each of the {len(present)} volumes of the table, got {len(subjects)}"
        )
    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(name, len(numbers)) for name, flag in zip(subjects, present, strict=True) if flag]
    return np.array(columns, np.intp)


def _count(owners: np.ndarray) -> int:
    return int(owners.max()) + 1 if owners.size else 0


def _sums(table: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Add up the values [seeds, volumes] of each subject: [seeds, subjects]; a NaN counts as 0."""
    sums = np.zeros((len(table), _count(owners)))
    np.add.at(sums.T, owners, np.nan_to_num(table).T)
    return sums


def _resampled_means(tables: Sequence[np.ndarray], owners: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return [resamples, tables]: means under one joint draw of seeds and subjects for all tables."""
    seed_counts, subject_counts = _draws(len(tables[0]), _count(owners), resamples, seed)
    present = _sums(~np.isnan(tables[0]), owners)
    weight = np.sum(seed_counts @ present * subject_counts, axis=1)
    sums = [np.sum(seed_counts @ _sums(table, owners) * subject_counts, axis=1) for table in tables]
    drawn = weight > 0  # with cells missing, a draw can hold no value at all
    return np.stack([total[drawn] / weight[drawn] for total in sums], axis=1)


_drawn: BoundedCache[tuple[np.ndarray, np.ndarray]] = BoundedCache(64, policy="evict")
"""Draws by their arguments: those of a comparison are equal for all of its arms."""


def _draws(rows: int, columns: int, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each seed [resamples, rows] and each subject [resamples, columns] is drawn."""
    key = rows, columns, resamples, seed
    found = _drawn.get(key)
    if found is None:
        generator = np.random.default_rng(seed)
        seeds = generator.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)
        subjects = generator.multinomial(columns, np.full(columns, 1 / columns), size=resamples).astype(np.float64)
        found = seeds, subjects
        _drawn.put(key, found, seeds.nbytes + subjects.nbytes)
    return found


def _percentiles(values: np.ndarray, level: float, seeds: int, subjects: int) -> tuple[float, float]:
    if max(seeds, subjects) < 2:  # every draw is the same
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    (table,), owners = _matched([values], subjects)
    count = _count(owners)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    means = _resampled_means([table], owners, resamples, seed)[:, 0]
    low, high = _percentiles(means, level, len(table), count)
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
    (left, right), owners = _matched([arm, reference], subjects)
    difference = left - right
    if difference.size == 0:
        raise UserError("the two arms have no volume of one seed in common: there is nothing to compare")
    names = [str(owner) for owner in owners]
    found = interval(difference, names, resamples, level, seed)
    counts = _sums(~np.isnan(difference), owners).sum(axis=0)
    per_subject = _sums(difference, owners).sum(axis=0) / counts
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
    tables, owners = _matched([arm, student, teacher], subjects)
    count = _count(owners)
    if count == 0:
        raise UserError("arm, student and teacher have no volume of one seed in common: there is no gap to close")
    gap, too_small = _gap(student, teacher, sign)
    own, plain, best = (float(np.nanmean(table)) for table in tables)
    if not sign * (best - plain) > 0:
        return GapClosed(math.nan, math.nan, math.nan, count, gap, True)
    means = _resampled_means(tables, owners, resamples, seed)
    gaps = means[:, 2] - means[:, 1]
    defined = gaps != 0
    shares = (means[defined, 0] - means[defined, 1]) / gaps[defined]
    low, high = _percentiles(shares, level, len(tables[0]), count)
    return GapClosed((own - plain) / (best - plain), low, high, count, gap, too_small)


def _gap(student: np.ndarray, teacher: np.ndarray, sign: float) -> tuple[float, bool | None]:
    (plain, best), _ = _matched([student, teacher])
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
