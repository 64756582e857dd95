"""Training loop: runs the teacher at most once per batch and makes one step of every trainer on it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, TracebackType

from i2ikd.engine.context import TrainingContext
from i2ikd.engine.teacher_runner import TeacherRunner
from i2ikd.engine.trainer import Trainer
from i2ikd.sample import Batch
from i2ikd.seeds import seed_torch


class Interrupted(Exception):  # noqa: N818 (no error)
    """Raised after Ctrl-C, SIGTERM or SIGHUP, when checkpoints are saved; the same command resumes from them."""


class StopRequest:
    """Context manager that turns Ctrl-C, SIGTERM and SIGHUP into a flag, which the loop checks between complete steps.

    A signal that is ignored (``nohup``) stays ignored. A second signal raises ``KeyboardInterrupt`` at once, unless
    ``patient``.

    Args:
        patient: for one of several processes: handle every signal like the first, also while the process ends after an
            error. torchrun forwards the signals it receives and sends one to the remaining processes when a process
            has failed; it kills processes still alive after 30 s.

    Attributes:
        requested: whether a signal has arrived.
    """

    _signals = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

    def __init__(self, patient: bool = False) -> None:
        self.requested = False
        self._patient = patient
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in self._signals if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._request) for number in heeded}
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
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
) -> None:
    """Train every run to the end of its recipe.

    Several runs share one pass over the data and the input networks; each makes exactly the steps it would make
    alone. A run whose checkpoint is ahead of the others waits for them. Several processes (torchrun) make each step
    together, and all stop when any of them receives a signal.

    Args:
        name: of the runs, for the callback.
        trainers: one per run, at any position of their recipes.
        shared: state that the runs share.
        save: writes the checkpoint of a run; called every ``save_seconds``, at the end of stages and when interrupted.
        save_seconds: minimum time between two checkpoints, in seconds.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP, after the checkpoints were saved.
        UserError: a loss that is not finite, or wrong shapes or taps.
    """
    steps = shared.batches.steps
    total = max(t.epochs for t in trainers) * steps
    first = min(t.epoch for t in trainers)
    shared.events.on_train_start(name, total, min(t.epoch * steps + t.step for t in trainers))
    saver = _Saver(save, save_seconds)
    try:
        with StopRequest(patient=shared.group.size > 1) as stop:
            for epoch in range(first, max(t.epochs for t in trainers)):
                active = [t for t in trainers if t.epoch == epoch < t.epochs]
                _run_epoch(epoch, active, shared, stop, saver)
                if shared.group.any(stop.requested):  # during validation or saving, after the last step's check
                    saver.save(active)
                    raise Interrupted
    finally:
        for trainer in trainers:
            trainer.close()
        shared.events.on_train_end()


def _run_epoch(
    epoch: int, active: Sequence[Trainer], shared: TrainingContext, stop: StopRequest, saver: _Saver
) -> None:
    """Train the active runs for one epoch, or the rest of it that a checkpoint has left."""
    for trainer in active:
        trainer.on_epoch_start()
    requests = {id(t): t.objective.requests() for t in active if t.objective is not None}
    all_requests = [request for of_one_run in requests.values() for request in of_one_run]
    for role, cache in shared.caches.items():
        of_role = [request for request in all_requests if request.network == role]
        cache.fill(of_role, shared.inputs[role], shared.batches, shared.device, shared.precision)
    runner = TeacherRunner(shared.inputs, all_requests, shared.caches, shared.device, shared.autocast)
    skip = min((t.step for t in active), default=0)
    try:
        batches = _saved_on_error(shared.batches.epoch(epoch, skip, shared.part), active, stop, saver)
        for index, batch in enumerate(batches, start=skip):
            on_device = shared.to_device(batch)
            runner.forward(on_device)
            stepping = [trainer for trainer in active if trainer.step == index]
            for trainer in stepping:
                seed_torch(trainer.run.seed, "knowledge", epoch, index, *shared.group.labels)
                outputs = runner.outputs(requests[id(trainer)], on_device)
                if trainer is stepping[-1]:
                    runner.release()
                trainer.training_step(on_device, outputs)
            shared.events.on_step_end()
            if shared.group.any(stop.requested):
                saver.save(active)
                raise Interrupted
            saver.save_if_due(active)
    finally:
        runner.close()
    stages = [t.stage_index for t in active]
    for trainer in active:
        trainer.on_epoch_end()
    if stages != [t.stage_index for t in active] or any(t.finished for t in active):
        saver.save(active)
    else:
        saver.save_if_due(active)


def _saved_on_error(
    batches: Iterator[Batch], active: Sequence[Trainer], stop: StopRequest, saver: _Saver
) -> Iterator[Batch]:
    """Yield batches; an error while one is read comes between complete steps, so that checkpoints are saved first."""
    while True:
        try:
            batch = next(batches, None)
        except Exception:
            saver.save(active)
            if stop.requested:  # Ctrl-C reaches processes that read, too
                raise Interrupted from None
            raise
        if batch is None:
            return
        yield batch


class _Saver:
    """Writes checkpoints, at the latest every so many seconds."""

    def __init__(self, save: Callable[[Trainer], None] | None, seconds: float) -> None:
        self._save = save
        self._seconds = seconds
        self._last = time.monotonic()

    def save(self, trainers: Sequence[Trainer]) -> None:
        """Write the checkpoints of all runs and restart the interval."""
        if self._save is not None:
            for trainer in trainers:
                self._save(trainer)
        self._last = time.monotonic()

    def save_if_due(self, trainers: Sequence[Trainer]) -> None:
        """Write the checkpoints if the interval has passed."""
        if time.monotonic() - self._last >= self._seconds:
            self.save(trainers)
