"""Progress of reading many bytes: one line with rate and time left on stderr, after a few seconds."""

from __future__ import annotations

import sys
import time

_SILENT = 3.0
"""Seconds before the first line: a shorter wait needs none."""
_UPDATE, _LINE = 0.5, 10.0
"""Seconds between two updates of the line of a terminal, and between two lines of other outputs."""


class HashProgress:
    """Progress line on stderr: rewritten on a terminal, otherwise repeated every 10 s.

    Args:
        total: number of bytes to read.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._last = time.monotonic()
        self._written = 0

    def add(self, count: int) -> None:
        """Count bytes as read.

        Args:
            count: number of bytes.
        """
        self._done += count
        now = time.monotonic()
        between = _UPDATE if sys.stderr.isatty() else _LINE
        if now - self._start >= _SILENT and (not self._written or now - self._last >= between):
            self._last = now
            self._write(self._text(now - self._start))

    def end(self) -> None:
        """End the line of a terminal."""
        if self._written and sys.stderr.isatty():
            sys.stderr.write("\n")

    def _text(self, seconds: float) -> str:
        rate = self._done / max(seconds, 1e-9)
        minutes, rest = divmod(round((self._total - self._done) / max(rate, 1e-9)), 60)
        return (
            f"i2ikd: digests of the data files, {self._done / 2**30:.1f} of {self._total / 2**30:.1f} GiB, "
            f"{rate / 2**20:.0f} MiB/s, {minutes}:{rest:02} left"
        )

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r" + text.ljust(self._written))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self._written = len(text)
