"""Interleaved rounds: every worker once per round, one at a time, in rotating order; ratios of the replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.setting import Setting
from benchmarks.worker import Reply


class UnitRunner(Protocol):
    """Runs units of work on request (``Worker``)."""

    def run_units(self, units: int = 1) -> Reply:
        """Run units of work and return their measurements."""

    def close(self) -> None:
        """Stop the runner."""


@dataclass(frozen=True)
class Plan:
    """Settings of a measurement.

    Attributes:
        base: Sizes and networks; groups vary single fields.
        rounds: Timed rounds of every comparison.
        units: Units of every worker per round.
        bf16: Whether rows in bfloat16 are measured.
        quick: Fewer slices, volumes and epochs; targets that depend on them are not evaluated.
        start: Starts a worker for a variant and a setting.
    """

    base: Setting
    rounds: int
    units: int
    bf16: bool
    quick: bool
    start: Callable[[str, Setting], UnitRunner]

    @contextmanager
    def workers(self, variants: Mapping[str, tuple[str, Setting]]) -> Iterator[dict[str, UnitRunner]]:
        """Start workers, by name of the measurement: (variant, setting)."""
        started: dict[str, UnitRunner] = {}
        try:
            for name, (variant, setting) in variants.items():
                started[name] = self.start(variant, setting)
            yield started
        finally:
            for worker in started.values():
                worker.close()

    def measure(
        self, variants: Mapping[str, tuple[str, Setting]], units: int | None = None, rounds: int | None = None
    ) -> dict[str, list[Reply]]:
        """Start workers, warm them up, and return the replies of the rounds."""
        with self.workers(variants) as workers:
            return interleave(workers, rounds or self.rounds, units or self.units)


def interleave(workers: Mapping[str, UnitRunner], rounds: int, units: int) -> dict[str, list[Reply]]:
    """Return the replies of each worker, one per round, after one warm-up round."""
    for worker in workers.values():
        worker.run_units(1)
    names = list(workers)
    replies: dict[str, list[Reply]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            replies[name].append(workers[name].run_units(units))
    return replies


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Summarise the rounds."""
        low, median, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
        return cls(median, low, high, tuple(values))


def ratio(slow: list[Reply], fast: list[Reply]) -> Spread:
    """Return the ratio of times, ``slow`` over ``fast``, round by round."""
    return Spread.of([a.seconds / b.seconds for a, b in zip(slow, fast, strict=True)])


def share(work: list[Reply], limit: list[Reply]) -> Spread:
    """Return operations per second of ``work`` in percent of the fastest unit of ``limit`` in the same round."""
    pairs = zip(work, limit, strict=True)
    return Spread.of([100 * _rate(a, a.seconds) / _rate(b, b.fastest) for a, b in pairs])


def _rate(reply: Reply, seconds: float) -> float:
    return float(reply.notes["operations"]) / seconds


def seconds(replies: list[Reply]) -> Spread:
    """Return the seconds per unit."""
    return Spread.of([reply.seconds for reply in replies])


def exponent(sizes: list[float], times: list[Spread]) -> Spread:
    """Return the exponent p of time ~ size^p, fitted in the logarithm; 1 is linear growth."""
    by_round = zip(*(spread.rounds for spread in times), strict=True)
    return Spread.of([float(np.polyfit(np.log(sizes), np.log(row), 1)[0]) for row in by_round])
