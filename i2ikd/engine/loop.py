"""The one training loop: epochs, batches, the teacher at most once a batch, every trainee one step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Protocol

from i2ikd.engine.context import TrainingContext
from i2ikd.engine.objective import ActiveTerm
from i2ikd.engine.seeds import seed_torch
from i2ikd.engine.teacher_runner import TeacherRunner
from i2ikd.engine.trainer import Trainer
from i2ikd.lifecycle import EpochContext


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """Ctrl-C or SIGTERM: a checkpoint was saved, and the same command goes on from it."""


class Callback(Protocol):
    """Is told how the work goes on."""

    def started(self, name: str, steps: int, done: int) -> None:
        """A loop starts (or goes on): so many steps in all, so many done before."""

    def stepped(self) -> None:
        """One more batch is through."""

    def epoch_ended(self, trainer: str, context: EpochContext, epochs: int) -> None:
        """One trainee ended an epoch."""

    def ended(self) -> None:
        """The loop ended, well or not."""


class NullCallback:
    """A watcher that says nothing."""

    def started(self, name: str, steps: int, done: int) -> None:
        """Nothing."""

    def stepped(self) -> None:
        """Nothing."""

    def epoch_ended(self, trainer: str, context: EpochContext, epochs: int) -> None:
        """Nothing."""

    def ended(self) -> None:
        """Nothing."""


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a flag that the loop looks at between steps, so that no step is cut in half.

    Args:
        patient: for one of several processes: take every signal as the first, even after an error, while the process
            ends. torchrun passes on the signals that it gets, and ends the rest with one when a process has failed;
            who does not end within 30 seconds is killed.
    """

    _signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, patient: bool = False) -> None:
        self.requested = False
        self._patient = patient
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._request) for number in self._signals}
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and not self._patient:
            raise KeyboardInterrupt
        self.requested = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._patient and error is not None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def train(
    name: str,
    trainers: Sequence[Trainer],
    shared: TrainingContext,
    *,
    save: Callable[[Trainer], None] | None = None,
    save_seconds: float = 30.0,
    callback: Callback | None = None,
) -> None:
    """Bring every trainee to the end of its recipe.

    Several trainees share one pass over the data and the teacher; each makes exactly the steps that it would make
    alone. A trainee that a checkpoint brought further than others waits for them. Several processes (torchrun) make
    each step together, and stop together when any of them is asked to.

    Args:
        name: what is being trained, for the watcher.
        trainees: may stand anywhere in their recipes.
        ground: what they share.
        save: writes a trainee's checkpoint; called every ``save_seconds``, at the end of stages and when interrupted.
        save_seconds: least time between two checkpoints.
        watcher: is told how the work goes on.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after the checkpoints were saved.
        UserError: a loss that is not finite, wrong shapes, wrong taps.
    """
    callback = callback or NullCallback()
    steps = shared.batches.steps
    total = max(t.epochs for t in trainers) * steps
    first = min(t.epoch for t in trainers)
    callback.started(name, total, min(t.epoch * steps + t.step for t in trainers))
    saver = _Saver(save, save_seconds)
    try:
        with StopRequest(patient=shared.group.size > 1) as stop:
            for epoch in range(first, max(t.epochs for t in trainers)):
                active = [t for t in trainers if t.epoch == epoch < t.epochs]
                _run_epoch(epoch, active, shared, stop, saver, callback)
                if shared.group.any(stop.requested):  # while it was validated or saved, after the last step's look
                    saver.save(active)
                    raise Interrupted
    finally:
        for trainer in trainers:
            trainer.close()
        callback.ended()


def _run_epoch(
    epoch: int, active: Sequence[Trainer], shared: TrainingContext, stop: StopRequest, saver: _Saver, callback: Callback
) -> None:
    for trainer in active:
        trainer.on_epoch_start()
    terms = {id(t): t.objective.terms for t in active if t.objective is not None}
    flat = [term for group in terms.values() for term in group]
    if shared.teacher is not None:
        shared.bank.fill(flat, shared.teacher, shared.batches, shared.device, shared.precision)
    teacher_runner = TeacherRunner(shared.teacher, flat, shared.bank, shared.device, shared.precision)
    skip = min((t.step for t in active), default=0)
    try:
        for index, batch in enumerate(shared.batches.epoch(epoch, skip, shared.part), start=skip):
            there = shared.to_device(batch)
            teacher_runner.forward(there)
            learning = [trainer for trainer in active if trainer.step == index]
            for trainer in learning:
                own: list[ActiveTerm] = terms[id(trainer)]
                seed_torch(trainer.run.seed, "knowledge", epoch, index, *shared.group.labels)
                knowledge = [teacher_runner.knowledge(term, there) for term in own]
                if trainer is learning[-1]:
                    teacher_runner.release()
                trainer.training_step(there, knowledge)
            callback.stepped()
            if shared.group.any(stop.requested):
                saver.save(active)
                raise Interrupted
            saver.save_if_due(active)
    finally:
        teacher_runner.close()
    stages = [t.stage_index for t in active]
    for trainer in active:
        callback.epoch_ended(trainer.run.name, trainer.on_epoch_end(), trainer.epochs)
    if stages != [t.stage_index for t in active] or any(t.finished for t in active):
        saver.save(active)
    else:
        saver.save_if_due(active)


class _Saver:
    """Decides when checkpoints are written."""

    def __init__(self, save: Callable[[Trainer], None] | None, seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._last = time.monotonic()

    def save(self, trainers: Sequence[Trainer]) -> None:
        if self._save is not None:
            for trainer in trainers:
                self._save(trainer)
        self._last = time.monotonic()

    def save_if_due(self, trainers: Sequence[Trainer]) -> None:
        if time.monotonic() - self._last >= self._seconds:
            self.save(trainers)
