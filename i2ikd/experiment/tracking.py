"""Trackers of an experiment as a callback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from i2ikd.callback import Callback, EpochContext, NullCallback, RunContext, StageContext, combine
from i2ikd.recipe import Reference
from i2ikd.registry import Registry

if TYPE_CHECKING:
    import numpy as np


class TrackerCallback(NullCallback):
    """Sends the numbers of every epoch to trackers, as ``run/stage/term``; the step counts the stage's epochs.

    Images and the final table reach the trackers that take them.

    Args:
        trackers: objects with ``log(step, values)``, ``close()``, and optionally ``log_images(images)`` and
            ``log_table(rows)``, such as those of ``i2ikd.create("tracker", NAME)``.
    """

    def __init__(self, trackers: Sequence[Any]) -> None:
        self._trackers = trackers

    def on_epoch_end(self, context: EpochContext) -> None:
        """Log an epoch."""
        prefix = f"{context.stage.run.name}/{context.stage.stage.name}"
        self._log(prefix, context.epoch, context.losses, context.learning_rate, context.validation)

    def on_run_trained(self, name: str, history: Sequence[dict[str, Any]]) -> None:
        """Log the whole history of a run that another process trained."""
        for row in history:
            self._log(f"{name}/{row['stage']}", row["epoch"], row["losses"], row["lr"], row["validation"])

    def on_results(self, rows: Sequence[Mapping[str, Any]], images: Mapping[str, np.ndarray]) -> None:
        """Send the final table and the images."""
        for tracker in self._trackers:
            if images and hasattr(tracker, "log_images"):
                tracker.log_images(images)
            if hasattr(tracker, "log_table"):
                tracker.log_table(rows)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close()

    def _log(self, prefix: str, epoch: int, losses: Mapping[str, float], rate: float, validation: float | None) -> None:
        values = dict(losses, lr=rate)
        if validation is not None:
            values["validation"] = validation
        for tracker in self._trackers:
            tracker.log(epoch + 1, {f"{prefix}/{name}": value for name, value in values.items()})


class HookCallback(NullCallback):
    """Calls the life-cycle hooks of plugins.

    Args:
        registry: whose plugins implement them.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def on_run_start(self, context: RunContext) -> None:
        """Call ``run_started``."""
        self._registry.notify("run_started", context)

    def on_run_end(self, context: RunContext) -> None:
        """Call ``run_ended``."""
        self._registry.notify("run_ended", context)

    def on_stage_start(self, context: StageContext) -> None:
        """Call ``stage_started``."""
        self._registry.notify("stage_started", context)

    def on_stage_end(self, context: StageContext) -> None:
        """Call ``stage_ended``."""
        self._registry.notify("stage_ended", context)

    def on_epoch_start(self, context: EpochContext) -> None:
        """Call ``epoch_started``."""
        self._registry.notify("epoch_started", context)

    def on_epoch_end(self, context: EpochContext) -> None:
        """Call ``epoch_ended``."""
        self._registry.notify("epoch_ended", context)


@contextlib.contextmanager
def tracked(callback: Callback, wanted: Sequence[Reference], registry: Registry) -> Iterator[Callback]:
    """Combine a callback with the trackers of an experiment; trackers are closed at the end, on failure too.

    Raises:
        UserError: an unknown tracker, or wrong options.
    """
    trackers: list[Any] = []
    try:
        for reference in wanted:
            where = f"tracker {reference.name!r}"
            trackers.append(registry.create("tracker", reference.name, reference.options, where))
        yield combine(callback, TrackerCallback(trackers)) if trackers else callback
    finally:
        TrackerCallback(trackers).close()
