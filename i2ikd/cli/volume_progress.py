"""Progress of a command over volumes: a bar on a terminal, rate and remaining time as text."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from i2ikd.progress import duration

_NAME = 30
"""Characters of a volume's name beside the bar: the line fits into 80 columns."""


class VolumeProgress:
    """Progress over volumes whose numbers of slices are not known in advance; a context manager.

    The remaining time is the mean duration of a volume times the volumes that are left, with the share of the slices
    of the present one.

    Args:
        console: the output.
        volumes: number of volumes.
    """

    def __init__(self, console: Console, volumes: int) -> None:
        self._volumes = volumes
        self._start = time.monotonic()
        self._done = self._slices = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal and volumes:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[state]}"))
            self._bar = Progress(*columns, console=console, transient=True, expand=True)
            self._task = self._bar.add_task("", total=volumes, state="")

    def __enter__(self) -> VolumeProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def slices(self, name: str, numbers: range) -> Iterable[int]:
        """Iterate over the slices of a volume and advance the bar.

        Args:
            name: of the volume.
            numbers: its slices.
        """
        self._show(name, self._done)
        for count, number in enumerate(numbers, 1):
            yield number
            self._slices += 1
            self._show(name, self._done + count / len(numbers))

    def end_volume(self) -> None:
        """Count a volume as done, with a result or without."""
        self._done += 1

    def state(self, done: float | None = None) -> str:
        """Return volumes done, rate and remaining time, such as ``3/40, 12.3 slices/s, 1:05 left``.

        Args:
            done: number of volumes that are done, with the share of the present one; ``None``: whole volumes.
        """
        done = self._done if done is None else done
        elapsed = max(time.monotonic() - self._start, 1e-9)
        parts = [f"{int(done)}/{self._volumes}"]
        if self._slices:
            parts.append(f"{self._slices / elapsed:.1f} slices/s")
        if done:
            parts.append(f"{duration(elapsed * (self._volumes - done) / done)} left")
        return ", ".join(parts)

    def _show(self, name: str, done: float) -> None:
        if self._bar is not None and self._task is not None:
            short = name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"
            self._bar.update(self._task, description=short, completed=done, state=self.state(done))
