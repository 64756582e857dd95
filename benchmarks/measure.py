"""Interleaved rounds: every worker once a round, one at a time, starting with another one each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.setting import Setting
from benchmarks.worker import Reply


class Asked(Protocol):
    """Something that works when asked (``Worker``)."""

    def ask(self, units: int = 1) -> Reply:
        """Do units of work."""

    def close(self) -> None:
        """End."""


@dataclass(frozen=True)
class Plan:
    """How the table is measured.

    Attributes:
        base: sizes and networks; groups change what they measure.
        rounds: timed rounds of every comparison.
        units: steps of every worker in a round.
        bf16: whether the rows in bfloat16 are measured.
        quick: fewer slices, volumes and epochs, for a look; the reach is then not judged where it depends on them.
        start: starts a worker.
    """

    base: Setting
    rounds: int
    units: int
    bf16: bool
    quick: bool
    start: Callable[[str, Setting], Asked]

    @contextmanager
    def workers(self, wanted: Mapping[str, tuple[str, Setting]]) -> Iterator[dict[str, Asked]]:
        """Start workers, by name of the measurement: (variant, setting)."""
        started: dict[str, Asked] = {}
        try:
            for name, (variant, setting) in wanted.items():
                started[name] = self.start(variant, setting)
            yield started
        finally:
            for worker in started.values():
                worker.close()

    def measure(
        self, wanted: Mapping[str, tuple[str, Setting]], units: int | None = None, rounds: int | None = None
    ) -> dict[str, list[Reply]]:
        """Start workers, warm them up, and return the replies of the rounds."""
        with self.workers(wanted) as workers:
            return interleave(workers, rounds or self.rounds, units or self.units)


def interleave(workers: Mapping[str, Asked], rounds: int, units: int) -> dict[str, list[Reply]]:
    """Return each worker's replies, a round each, after one round that only warms up."""
    for worker in workers.values():
        worker.ask(1)
    names = list(workers)
    replies: dict[str, list[Reply]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            replies[name].append(workers[name].ask(units))
    return replies


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of what the rounds gave."""

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
    """How many times longer ``slow`` took, round by round."""
    return Spread.of([a.seconds / b.seconds for a, b in zip(slow, fast, strict=True)])


def share(work: list[Reply], limit: list[Reply]) -> Spread:
    """Operations a second of ``work``, in percent of the best that the limit reached in the same round."""
    pairs = zip(work, limit, strict=True)
    return Spread.of([100 * _rate(a, a.seconds) / _rate(b, b.fastest) for a, b in pairs])


def _rate(reply: Reply, seconds: float) -> float:
    return float(reply.facts["operations"]) / seconds


def seconds(replies: list[Reply]) -> Spread:
    """Seconds a unit."""
    return Spread.of([reply.seconds for reply in replies])


def exponent(sizes: list[float], times: list[Spread]) -> Spread:
    """The power of size that the time grows with, fitted in the logarithm; 1 is linear."""
    by_round = zip(*(spread.rounds for spread in times), strict=True)
    return Spread.of([float(np.polyfit(np.log(sizes), np.log(row), 1)[0]) for row in by_round])
