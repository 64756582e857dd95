"""Crossed bootstrap of values [seeds, volumes]: matching of tables, draws of seeds and subjects, percentiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from i2ikd.bounded_cache import BoundedCache
from i2ikd.errors import UserError


def _table(values: np.ndarray) -> np.ndarray:
    table = np.asarray(values, np.float64)
    if table.ndim != 2:
        raise UserError(f"values of an arm are a table [seeds, volumes], not an array of shape {table.shape}")
    return table


def match_tables(
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


def count_subjects(owners: np.ndarray) -> int:
    """Return the number of subjects of the volumes whose subjects are numbered ``owners`` [volumes]."""
    return int(owners.max()) + 1 if owners.size else 0


def subject_sums(table: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Add up the values [seeds, volumes] of each subject: [seeds, subjects]; a NaN counts as 0."""
    sums = np.zeros((len(table), count_subjects(owners)))
    np.add.at(sums.T, owners, np.nan_to_num(table).T)
    return sums


def resampled_means(tables: Sequence[np.ndarray], owners: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return [resamples, tables]: means under one joint draw of seeds and subjects for all tables."""
    seed_counts, subject_counts = _draws(len(tables[0]), count_subjects(owners), resamples, seed)
    present = subject_sums(~np.isnan(tables[0]), owners)
    weight = np.sum(seed_counts @ present * subject_counts, axis=1)
    sums = [np.sum(seed_counts @ subject_sums(table, owners) * subject_counts, axis=1) for table in tables]
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


def percentiles(values: np.ndarray, level: float, seeds: int, subjects: int) -> tuple[float, float]:
    """Return the ends of the interval of ``values`` [draws]; NaN with one seed and one subject."""
    if max(seeds, subjects) < 2:  # every draw is the same
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
