"""Jobs trained by worker processes on this machine, each a fresh interpreter with its share of the cores."""

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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from i2ikd.callback import Callback
from i2ikd.engine.loop import Interrupted, StopRequest
from i2ikd.executors.base import Job, Log, Outcome, WorkerSetup
from i2ikd.executors.worker_errors import crash, failure

_POLL_SECONDS = 0.5


class ProcessExecutor:
    """Trains several jobs at a time. Each worker writes its output to a separate log in ``folder``.

    Args:
        slots: number of processes; each gets one GPU where there are several.
        setup: returns the setup of workers for a number of threads.
        folder: for the logs.
        log: prints the start and the end of every job.
        callback: receives the history of a run when it is finished.
        gpus: whether workers compute on GPUs.
        threads: of torch in each process; ``None``: that part of torch's threads.
    """

    def __init__(
        self,
        slots: int,
        setup: Callable[[int | None], WorkerSetup],
        folder: Path,
        log: Log,
        callback: Callback,
        gpus: bool = False,
        threads: int | None = None,
    ) -> None:
        self.slots = slots
        self._make_setup = setup
        self._log = log
        self._callback = callback
        self._folder = folder
        self._gpus = gpus
        self._threads = threads or max(1, torch.get_num_threads() // slots)
        self._workers: list[_Worker] = []
        self._stop = StopRequest()

    def __enter__(self) -> Self:
        self._setup = self._make_setup(self._threads)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End idle workers, and busy ones after they saved checkpoints; a second Ctrl-C kills them."""
        busy = [worker.job.name for worker in self._workers if worker.job is not None]
        try:
            if busy:
                self._log(f"  stop  {', '.join(busy)}: saving checkpoints")
            for worker in self._workers:
                worker.release()
            for worker in self._workers:
                worker.process.wait()
        finally:
            for worker in self._workers:
                worker.kill()
            self._stop.__exit__(kind, error, trace)

    def submit(self, job: Job) -> None:
        """Send the job to an idle worker, preferably one that trained a job of equal affinity, or to a new one."""
        idle = [worker for worker in self._workers if worker.job is None and worker.process.poll() is None]
        worker = min(idle, key=lambda worker: worker.affinity != job.affinity) if idle else self._new_worker()
        self._log(f" start  {job.name}")
        worker.submit(job)

    def _new_worker(self) -> _Worker:
        """Start a worker, in the place of one that has ended."""
        taken = {worker.place for worker in self._workers if worker.process.poll() is None}
        place = next(number for number in range(len(taken) + 1) if number not in taken)
        log = self._folder / f"worker-{len(self._workers)}.log"
        self._workers.append(_Worker(place, log, self._environment(place), self._setup))
        return self._workers[-1]

    def wait(self) -> Job:
        """Wait for the first outcome of any worker."""
        while True:
            if self._stop.requested:
                raise Interrupted
            worker = self._first_ended()
            if worker is not None:
                return self._finished_job(worker)

    def _first_ended(self) -> _Worker | None:
        """Return a worker with an outcome, or one that died; ``None`` after half a second without one."""
        busy = [worker for worker in self._workers if worker.job is not None]
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.messages, selectors.EVENT_READ, worker)
            for key, _ in selector.select(_POLL_SECONDS):
                sender: _Worker = key.data
                if sender.has_ended():
                    return sender
                if sender.job is not None and sender.progress is not None:
                    self._callback.on_remote_progress(sender.job.name, *sender.progress)
        return next((worker for worker in busy if worker.process.poll() is not None), None)

    def _finished_job(self, worker: _Worker) -> Job:
        job, outcome = worker.job, worker.outcome()
        assert job is not None
        if outcome is None:
            if self._stop.requested:
                raise Interrupted
            raise crash(job, worker.exit_status(), worker.log)
        if outcome["ended"] == "stopped":
            raise Interrupted
        if outcome["ended"] == "crashed":
            worker.process.wait()
        if outcome["ended"] != "finished":
            raise failure(job, outcome, worker.log)
        job.replay(self._callback)
        self._log(f"  done  {job.name}  ({worker.seconds:.0f} s)")
        return job

    def _environment(self, place: int) -> dict[str, str]:
        """Return this process's environment with a worker's threads, and one of several GPUs."""
        changes = {"OMP_NUM_THREADS": str(self._threads), "MKL_NUM_THREADS": str(self._threads)}
        changes["PYTHONPATH"] = os.pathsep.join(str(Path(part).resolve()) for part in sys.path)
        if self._gpus and torch.cuda.device_count() > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            devices = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
            changes["CUDA_VISIBLE_DEVICES"] = devices[place % len(devices)]
        return {**os.environ, **changes}


class _Worker:
    """One worker process: JSON lines to its stdin, progress and outcomes from its stdout."""

    def __init__(self, place: int, log: Path, environment: dict[str, str], setup: WorkerSetup) -> None:
        self.place = place
        self.job: Job | None = None
        self.affinity: object = None
        self.seconds = 0.0
        self.log = log
        self.progress: tuple[int, int] | None = None
        """Steps that its job made, of how many."""
        self._outcome: Outcome | None = None
        self._unread = b""
        with log.open("w", encoding="utf-8") as stream:
            # A separate session: Ctrl-C in the terminal reaches the worker only through its parent, and once.
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "i2ikd.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._payloads, self.messages = self.process.stdin, self.process.stdout
        self._send(setup.as_json())

    def _send(self, value: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed where its outcome is awaited
            unsent = json.dumps(value).encode() + b"\n"
            while unsent:
                unsent = unsent[self._payloads.write(unsent) :]

    def submit(self, job: Job) -> None:
        """Have it train a job."""
        self.job, self.affinity, self._began, self.progress = job, job.affinity, time.monotonic(), None
        self._send(job.payload)

    def outcome(self) -> Outcome | None:
        """Return the outcome of its job; ``None`` where it died without one."""
        self.has_ended()
        outcome, self._outcome = self._outcome, None
        self.job, self.seconds = None, time.monotonic() - self._began
        return outcome

    def has_ended(self) -> bool:
        """Read the messages that have arrived; return whether its job has ended, or the process."""
        if not select.select([self.messages], [], [], 0)[0]:  # also of a dead one: a child process may hold the pipe
            return False
        arrived = os.read(self.messages.fileno(), 65536)
        *lines, self._unread = (self._unread + arrived).split(b"\n")
        for message in map(json.loads, lines):
            if "ended" in message:
                self._outcome = message
            else:
                self.progress = (message["done"], message["steps"])
        return self._outcome is not None or not arrived

    def exit_status(self) -> str:
        """Return its exit status in words."""
        status = self.process.wait()
        if status >= 0:
            return f"its process ended with exit status {status}"
        hint = " (by the system, if memory ran out; fewer processes need less)" if status == -signal.SIGKILL else ""
        return f"its process was killed by {signal.Signals(-status).name}{hint}"

    def release(self) -> None:
        """Close its stdin, upon which it ends."""
        with contextlib.suppress(BrokenPipeError):
            self._payloads.close()

    def kill(self) -> None:
        """Kill it if it has not ended."""
        self.process.kill()
        self.process.wait()
        self.messages.close()
