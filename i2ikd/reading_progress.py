"""Progress of reading data: one line with rate and time left on stderr, after a few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from i2ikd.progress import duration

_SILENT = 3.0
"""Seconds before the first line: a shorter wait needs none."""
_UPDATE, _LINE = 0.5, 10.0
"""Seconds between two updates of the line of a terminal, and between two lines of other outputs."""

Item = TypeVar("Item")


class ProgressLine:
    """A line on stderr: rewritten on a terminal, otherwise repeated every 10 s."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._written = 0

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start

    @property
    def due(self) -> bool:
        """Whether the line is to be written or updated."""
        now = time.monotonic()
        between = _UPDATE if sys.stderr.isatty() else _LINE
        return now - self._start >= _SILENT and (not self._written or now - self._last >= between)

    def write(self, text: str) -> None:
        """Write the line.

        Args:
            text: without a line break.
        """
        self._last = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write("\r" + text.ljust(self._written))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self._written = len(text)

    def end(self) -> None:
        """End the line of a terminal."""
        if self._written and sys.stderr.isatty():
            sys.stderr.write("\n")


class HashProgress(ProgressLine):
    """Progress of digests of files, in bytes.

    Args:
        total: number of bytes to read.
    """

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        """Count bytes as read.

        Args:
            count: number of bytes.
        """
        self._done += count
        if self.due:
            rate = self._done / max(self.seconds, 1e-9)
            self.write(
                f"i2ikd: digests of the data files, {self._done / 2**30:.1f} of {self._total / 2**30:.1f} GiB, "
                f"{rate / 2**20:.0f} MiB/s, {duration((self._total - self._done) / max(rate, 1e-9))} left"
            )


def reading(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield items that are read one after the other, with progress: "reading volume 12 of 150, 1:05 left".

    Args:
        items: whose reading takes the time until the next one is requested.
        what: an item is.
    """
    line = ProgressLine()
    try:
        for done, item in enumerate(items):
            if done and line.due:
                left = duration(line.seconds / done * (len(items) - done))
                line.write(f"i2ikd: reading {what} {done + 1} of {len(items)}, {left} left")
            yield item
    finally:
        line.end()
