"""Trackers beside the display: every epoch's numbers go to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from i2ikd.engine.loop import Callback
from i2ikd.engine.run import Run
from i2ikd.lifecycle import EpochContext
from i2ikd.recipe import Reference
from i2ikd.registry import Registry


class TrackerCallback:
    """A watcher that passes everything on to another, and the epochs' numbers to trackers."""

    def __init__(self, callback: Callback, trackers: Sequence[Any]) -> None:
        self._callback = callback
        self._trackers = trackers
        self._epochs: dict[str, int] = {}

    def started(self, name: str, steps: int, done: int) -> None:
        """Pass on."""
        self._callback.started(name, steps, done)

    def stepped(self) -> None:
        """Pass on."""
        self._callback.stepped()

    def epoch_ended(self, trainer: str, context: EpochContext, epochs: int) -> None:
        """Log ``trainer/stage/term`` to every tracker; the step is the number of the stage's epochs done."""
        stage = context.stage.stage.name
        self._log(trainer, stage, context.epoch, context.losses, context.learning_rate, context.validation)
        self._callback.epoch_ended(trainer, context, epochs)

    def replay(self, run: Run) -> None:
        """Log the whole history of a finished run."""
        for row in run.folder.read("history") or []:
            self._log(run.name, row["stage"], row["epoch"], row["losses"], row["lr"], row["validation"])

    def _log(
        self, trainer: str, stage: str, epoch: int, losses: Mapping[str, float], rate: float, validation: float | None
    ) -> None:
        values = dict(losses, lr=rate)
        if validation is not None:
            values["validation"] = validation
        for tracker in self._trackers:
            tracker.log(epoch + 1, {f"{trainer}/{stage}/{name}": value for name, value in values.items()})

    def ended(self) -> None:
        """Pass on."""
        self._callback.ended()


def replay(callback: Callback | None, runs: Iterable[Run]) -> None:
    """Let the trackers behind a watcher have the numbers of runs that another process trained to the end."""
    if isinstance(callback, TrackerCallback):
        for run in runs:
            callback.replay(run)


@contextlib.contextmanager
def tracked(callback: Callback, wanted: Sequence[Reference], registry: Registry) -> Iterator[Callback]:
    """Create the trackers of an experiment; they are closed at the end, on failure too.

    Raises:
        UserError: an unknown tracker, or wrong options.
    """
    trackers: list[Any] = []
    try:
        for reference in wanted:
            trackers.append(
                registry.create("tracker", reference.name, reference.options, f"tracker {reference.name!r}")
            )
        yield TrackerCallback(callback, trackers) if trackers else callback
    finally:
        for tracker in trackers:
            tracker.close()
