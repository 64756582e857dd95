"""Observers of training: one protocol for progress, trackers and plugins, and the contexts its events carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from i2ikd.recipe import Stage


@dataclass
class RunContext:
    """One training run: a network, a recipe, a seed."""

    name: str
    """E.g. ``students/kd-mri/seed0``."""
    seed: int
    folder: Path | None
    """Folder of the run's files; ``None`` when it writes none."""
    settings: dict[str, Any]
    network: nn.Module
    error: BaseException | None = None


@dataclass
class StageContext:
    """One stage of a run."""

    run: RunContext
    stage: Stage
    index: int


@dataclass
class EpochContext:
    """One epoch of a stage."""

    stage: StageContext
    epoch: int
    """Counted within the stage, from 0."""
    losses: dict[str, float] = field(default_factory=dict)
    """Mean of every term, unweighted, plus ``total``; empty when the epoch starts."""
    validation: float | None = None
    """Mean validation loss, where this epoch was validated."""
    learning_rate: float = 0.0

    def __str__(self) -> str:
        """One line: run, stage, epoch, losses."""
        losses = "  ".join(f"{name} {value:.5g}" for name, value in self.losses.items() if name != "total")
        validation = "" if self.validation is None else f"  validation {self.validation:.5g}"
        return f"{self.stage.run.name}  {self.stage.stage.name} epoch {self.epoch + 1}  {losses}{validation}"


class Callback(Protocol):
    """Receives the events of training.

    A *loop* trains one or more runs together (``on_train_start`` to ``on_train_end``); every run has stages, every
    stage epochs. Of several processes only the main one calls callbacks.
    """

    def on_schedule(self, jobs: Sequence[tuple[str, int]]) -> None:
        """A command is about to train: the name of every loop that follows, with its steps in all."""

    def on_train_start(self, name: str, steps: int, done: int) -> None:
        """A loop starts or continues: ``steps`` in all, ``done`` of them before."""

    def on_train_end(self) -> None:
        """The loop ended, also when it failed."""

    def on_step_end(self) -> None:
        """Every run of the loop made one optimiser step."""

    def on_run_start(self, context: RunContext) -> None:
        """A run starts or continues."""

    def on_run_end(self, context: RunContext) -> None:
        """A run ended; ``context.error`` is the exception if it failed."""

    def on_stage_start(self, context: StageContext) -> None:
        """A stage starts."""

    def on_stage_end(self, context: StageContext) -> None:
        """A stage ended."""

    def on_epoch_start(self, context: EpochContext) -> None:
        """An epoch of a run starts."""

    def on_epoch_end(self, context: EpochContext) -> None:
        """An epoch of a run ended."""

    def on_remote_progress(self, name: str, done: int, steps: int) -> None:
        """Another process of this machine that trains a loop made ``done`` of ``steps`` steps."""

    def on_run_trained(self, name: str, history: Sequence[dict[str, Any]]) -> None:
        """A run was trained by another process; ``history`` has a row per epoch."""

    def on_results(self, rows: Sequence[Mapping[str, Any]], images: Mapping[str, np.ndarray]) -> None:
        """A comparison ended: rows of its table (``arm`` and numbers by column), images [H, W] or [H, W, 3] by name."""


class NullCallback:
    """A callback whose events do nothing; a base class for those that need few of them."""

    def on_schedule(self, jobs: Sequence[tuple[str, int]]) -> None:
        """Do nothing."""

    def on_train_start(self, name: str, steps: int, done: int) -> None:
        """Do nothing."""

    def on_train_end(self) -> None:
        """Do nothing."""

    def on_step_end(self) -> None:
        """Do nothing."""

    def on_run_start(self, context: RunContext) -> None:
        """Do nothing."""

    def on_run_end(self, context: RunContext) -> None:
        """Do nothing."""

    def on_stage_start(self, context: StageContext) -> None:
        """Do nothing."""

    def on_stage_end(self, context: StageContext) -> None:
        """Do nothing."""

    def on_epoch_start(self, context: EpochContext) -> None:
        """Do nothing."""

    def on_epoch_end(self, context: EpochContext) -> None:
        """Do nothing."""

    def on_remote_progress(self, name: str, done: int, steps: int) -> None:
        """Do nothing."""

    def on_run_trained(self, name: str, history: Sequence[dict[str, Any]]) -> None:
        """Do nothing."""

    def on_results(self, rows: Sequence[Mapping[str, Any]], images: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""


class _Dispatch:
    """Sends every event to several callbacks."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = callbacks

    def __getattr__(self, event: str) -> Any:
        if event.startswith("_") or not hasattr(NullCallback, event):
            raise AttributeError(event)

        def dispatch(*arguments: Any) -> None:
            for callback in self._callbacks:
                receive = getattr(callback, event, None)  # a callback of an older version lacks later events
                if receive is not None:
                    receive(*arguments)

        return dispatch


def combine(*callbacks: Callback) -> Callback:
    """Return one callback that sends every event to each of ``callbacks`` that has it, in order."""
    return cast("Callback", _Dispatch(callbacks))
