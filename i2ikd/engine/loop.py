"""The one training loop: epochs, batches, the teacher at most once a batch, every trainee one step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

from i2ikd.engine.context import TrainingContext
from i2ikd.engine.teacher_runner import TeacherRunner
from i2ikd.engine.trainer import Trainer
from i2ikd.seeds import seed_torch


class Interrupted(Exception):  # noqa: N818 (nothing went wrong)
    """Ctrl-C or SIGTERM: a checkpoint was saved, and the same command goes on from it."""


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
) -> None:
    """Train every run to the end of its recipe.

    Several runs share one pass over the data and the input networks; each makes exactly the steps it would make
    alone. A run that a checkpoint puts ahead of others waits for them. Several processes (torchrun) make each step
    together, and stop together when any of them is requested to.

    Args:
        name: what is trained, for the callback.
        trainers: at any position of their recipes.
        shared: state they share.
        save: writes a run's checkpoint; called every ``save_seconds``, at the end of stages and when interrupted.
        save_seconds: least time between two checkpoints, in seconds.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after the checkpoints were saved.
        UserError: a loss that is not finite, wrong shapes, wrong taps.
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
    for trainer in active:
        trainer.on_epoch_start()
    requests = {id(t): t.objective.requests() for t in active if t.objective is not None}
    everything = [request for own in requests.values() for request in own]
    for role, cache in shared.caches.items():
        wanted = [request for request in everything if request.network == role]
        cache.fill(wanted, shared.inputs[role], shared.batches, shared.device, shared.precision)
    runner = TeacherRunner(shared.inputs, everything, shared.caches, shared.device, shared.autocast)
    skip = min((t.step for t in active), default=0)
    try:
        for index, batch in enumerate(shared.batches.epoch(epoch, skip, shared.part), start=skip):
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
