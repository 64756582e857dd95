"""Units trained by worker processes on this machine, each a fresh interpreter with its share of the cores."""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch

from i2ikd.engine.loop import Callback, Interrupted, StopRequest
from i2ikd.executors.worker_errors import crash, refusal
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.jobs import Job
from i2ikd.experiment.remote import Outcome, remote_setup
from i2ikd.experiment.tracking import replay

_LOOK_SECONDS = 0.5


class ProcessExecutor:
    """Trains ``count`` units at a time. What the workers print is in ``OUT/workers/``, a log each.

    Args:
        bench: the experiment.
        count: how many processes; each gets that part of the threads that torch has here, and one GPU where there
            are several.
        say: is told the start and the end of every unit.
        watcher: its trackers get the numbers of a run when it is finished.
    """

    def __init__(
        self, context: ExperimentContext, count: int, say: Callable[[str], None], callback: Callback | None = None
    ) -> None:
        self.slots = count
        self._say = say
        self._callback = callback
        self._context = context
        self._logs = context.store.root / "workers"
        self._threads = max(1, torch.get_num_threads() // count)
        self._workers: list[_Worker] = []
        self._stop = StopRequest()

    def __enter__(self) -> ProcessExecutor:
        self._context.remember_precision()
        self._setup = remote_setup(self._context, self._threads)
        self._logs.mkdir(parents=True, exist_ok=True)
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let idle workers end, and busy ones after they saved checkpoints; a second Ctrl-C kills them."""
        busy = [worker for worker in self._workers if worker.job is not None]
        try:
            if busy:
                self._say(f"  stop  {', '.join(str(w.job.name) for w in busy if w.job)}: saving checkpoints")
            for worker in self._workers:
                worker.release()
            for worker in self._workers:
                worker.process.wait()
        finally:
            for worker in self._workers:
                worker.kill()
            self._stop.__exit__(kind, error, trace)

    def start(self, job: Job) -> None:
        """Give the unit to an idle worker, one that knows the unit's seed if there is one, or to a new one."""
        idle = [worker for worker in self._workers if worker.job is None]
        if idle:
            worker = min(idle, key=lambda worker: worker.seed != job.seed)
        else:
            number = len(self._workers)
            worker = _Worker(self._logs / f"worker-{number}.log", self._environment(number), self._setup)
            self._workers.append(worker)
        self._say(f" start  {job.name}")
        worker.give(job)

    def ended(self) -> Job:
        """Wait for the first answer of any worker."""
        while True:
            if self._stop.requested:
                raise Interrupted
            worker = self._first_to_speak()
            if worker is not None:
                return self._judged(worker)

    def _first_to_speak(self) -> _Worker | None:
        """Return a worker that answered or died; ``None`` after half a second without one."""
        busy = [worker for worker in self._workers if worker.job is not None]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            for key, _ in selector.select(_LOOK_SECONDS):
                spoken: _Worker = key.data
                return spoken
        return next((worker for worker in busy if worker.process.poll() is not None), None)

    def _judged(self, worker: _Worker) -> Job:
        job, outcome = worker.job, worker.answer()
        assert job is not None
        if outcome is None:
            if self._stop.requested:
                raise Interrupted
            raise crash(job, worker.how_it_died(), worker.log)
        if outcome["ended"] == "stopped":
            raise Interrupted
        if outcome["ended"] == "refused":
            raise refusal(job, outcome["message"])
        replay(self._callback, job.runs)
        self._say(f"  done  {job.name}  ({worker.seconds:.0f} s)")
        return job

    def _environment(self, number: int) -> dict[str, str]:
        """This process's own, with as many threads as a worker has, and one of several GPUs."""
        changes = {"OMP_NUM_THREADS": str(self._threads), "MKL_NUM_THREADS": str(self._threads)}
        changes["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in sys.path)
        if self._context.device.type == "cuda" and torch.cuda.device_count() > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            devices = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
            changes["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        return {**os.environ, **changes}


class _Worker:
    """One worker process, seen from outside."""

    def __init__(self, log: Path, environment: dict[str, str], setup: dict[str, Any]) -> None:
        self.job: Job | None = None
        self.seed: int | None = None
        self.seconds = 0.0
        self.log = log
        with log.open("w", encoding="utf-8") as stream:
            # A session of its own: Ctrl-C in the terminal comes to it through its parent alone, and once.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "i2ikd.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                env=environment,
                start_new_session=True,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._orders: TextIO = self.process.stdin  # type: ignore[assignment]
        self.answers: TextIO = self.process.stdout  # type: ignore[assignment]
        self._send(setup)

    def _send(self, value: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died; that shows where its answer is awaited
            self._orders.write(json.dumps(value) + "\n")
            self._orders.flush()

    def give(self, job: Job) -> None:
        """Have it train a unit."""
        self.job, self.seed, self._began = job, job.seed, time.monotonic()
        self._send(job.payload())

    def answer(self) -> Outcome | None:
        """Read what became of its unit; ``None`` where it died without an answer."""
        spoken = select.select([self.answers], [], [], 0)[0]
        line = self.answers.readline() if spoken else ""  # without: dead, but a child of its own holds the pipe
        self.job, self.seconds = None, time.monotonic() - self._began
        return json.loads(line) if line.endswith("\n") else None

    def how_it_died(self) -> str:
        """Its exit status in words."""
        status = self.process.wait()
        if status >= 0:
            return f"its process ended with exit status {status}"
        hint = " (by the system, if memory ran out; fewer processes need less)" if status == -signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-status).name}{hint}"

    def release(self) -> None:
        """Close its stdin: it ends by itself."""
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self.answers.close()
