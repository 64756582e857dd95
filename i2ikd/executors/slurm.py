"""Units as jobs of a Slurm cluster, by submitit (``pip install "i2ikd[slurm]"``).

A job that nears its time limit requeues itself, one that is preempted is requeued by Slurm; it goes on from its
checkpoint. Jobs outlive a comparison that is killed; started again by the same command, it finds them and waits.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

from i2ikd.config import digest
from i2ikd.engine.loop import Callback, Interrupted, StopRequest
from i2ikd.engine.store import RunFolder
from i2ikd.errors import UserError
from i2ikd.executors.squeue import Queue
from i2ikd.executors.worker_errors import crash, refusal
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.handles import Job
from i2ikd.experiment.remote import Outcome, open_experiment, perform, remote_setup
from i2ikd.experiment.tracking import replay

_DEFAULTS: dict[str, Any] = {"timeout_min": 240}
_SHARED = {"name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "stderr_to_stdout"}
_REQUEUES = 100
"""So often a job may reach its time limit."""
_FILES_SECONDS = 60.0
"""So long a shared file system may take to show here what was written there."""
_CANCEL_SECONDS = 40.0
"""Slurm kills a cancelled job 30 seconds after it asked it to end."""


class RemoteJob:
    """What is submitted: trains a unit where it is called."""

    def __init__(self, setup: dict[str, Any], payload: dict[str, Any]) -> None:
        self.setup = setup
        self.payload = payload

    def __call__(self) -> Outcome:
        """Train it. A job that is told to end leaves no result: it is cancelled, or it will be started again."""
        requeue = _catch_signals()
        outcome = perform(lambda: open_experiment(self.setup), self.payload)
        if outcome["ended"] == "stopped":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm ends what it requeues, scontrol in it included
            requeue()
            sys.exit(143)
        return outcome

    def checkpoint(self) -> Any:
        """What is started again is the same: the run's own checkpoint is on disk."""
        return _submitit().helpers.DelayedSubmission(self)


def _catch_signals() -> Callable[[], None]:
    """Let a job that submitit would requeue at once, in the middle of a step, come to the end of the step and save.

    Returns:
        What to call then: it requeues the job and ends the process, if that was wanted, and else does nothing.
    """
    wanted: list[Callable[[], object]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def catch(number: int) -> None:
        requeue = signal.getsignal(number)  # submitit's, for a job near its time limit or preempted
        if callable(requeue):

            def ask(number: int, frame: FrameType | None) -> None:
                wanted.append(lambda: requeue(number, frame))
                os.kill(os.getpid(), signal.SIGTERM)

            signal.signal(number, ask)

    signal.signal(signal.SIGTERM, stop)  # the loop puts its own in place, which waits for the end of a step
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        catch(number)

    def requeue_if_wanted() -> None:
        for requeue in wanted[:1]:
            requeue()

    return requeue_if_wanted


class SlurmExecutor:
    """Trains units as jobs; their logs are in ``OUT/workers/``.

    Args:
        bench: the experiment, made ready for being trained elsewhere.
        cluster: ``slurm``, or ``local``: processes of this machine in the manner of a cluster, for trying out.
        options: submitit's parameters; those of Slurm alone (partition, qos, ...) by their plain names.
        slots: how many jobs at a time.
        say: is told the submission and the end of every unit.
        watcher: its trackers get the numbers of a run when it is finished.

    Raises:
        UserError: submitit is not installed, there is no Slurm here, or an option is wrong.
    """

    def __init__(
        self,
        context: ExperimentContext,
        cluster: Literal["slurm", "local"],
        options: Mapping[str, Any],
        slots: int,
        say: Callable[[str], None],
        callback: Callback | None = None,
    ) -> None:
        self.slots = slots
        self._context = context
        self._say = say
        self._callback = callback
        self._folder = context.store.root.resolve() / "workers"
        self._record = RunFolder(self._folder)
        self._cluster = cluster
        self._threads: int | None = options.get("cpus_per_task", 1 if cluster == "local" else None)
        self._executor = _make_executor(self._folder, cluster, options)
        self._queue = Queue()
        self._handles: dict[str, tuple[Job, Any]] = {}
        self._stop = StopRequest()

    def __enter__(self) -> SlurmExecutor:
        self._context.remember_precision()
        self._setup = remote_setup(self._context, self._threads)
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel what still goes on, and wait for it to save checkpoints."""
        try:
            if self._handles:
                self._say(f"  stop  {', '.join(job.name for job, _ in self._handles.values())}: cancelling")
            for _, handle in self._handles.values():
                handle.cancel(check=False)
            deadline = time.monotonic() + _CANCEL_SECONDS
            while time.monotonic() < deadline and any(
                not handle.done(force_check=True) for _, handle in self._handles.values()
            ):
                time.sleep(self._look_seconds)
            for key in self._handles:
                self._remember(key, None)
        finally:
            self._stop.__exit__(kind, error, trace)

    @property
    def _look_seconds(self) -> float:
        return 2.0 if self._cluster == "slurm" else 0.2

    def start(self, job: Job) -> None:
        """Submit the unit, or find the job that an earlier comparison submitted for it.

        Raises:
            UserError: the cluster does not take it, or does not answer.
        """
        key = digest([run.specification.digest for run in job.runs])
        handle = self._found(job, key)
        if handle is not None:
            self._say(f"  wait  {job.name}  (job {handle.job_id})")
        else:
            try:
                self._executor.update_parameters(name=f"i2ikd-{self._context.experiment.name}")
                handle = self._watched(self._executor.submit(RemoteJob(self._setup, job.payload())))
            except Exception as error:  # submitit's own, and whatever sbatch makes of a wrong parameter
                reason = " ".join(str(error).split())
                raise UserError(f"{job.name} could not be submitted: {reason}") from error
            self._remember(key, str(handle.job_id))
            self._say(f"submit  {job.name}  (job {handle.job_id})")
        self._handles[key] = (job, handle)

    def _found(self, job: Job, key: str) -> Any | None:
        """Return the job of an earlier comparison that still waits or runs; a local one cannot be found again."""
        job_id = (self._record.read("jobs") or {}).get(key)
        if job_id is None or self._cluster == "local":
            return None
        handle = self._watched(_submitit().SlurmJob(folder=self._folder, job_id=job_id))
        if handle.done(force_check=True):
            return None
        if handle.state == "UNKNOWN":  # a second job would write into the files of the first
            raise UserError(
                f"{job.name}: squeue does not say whether its job {job_id} still goes on; start again later"
            )
        return handle

    def _watched(self, handle: Any) -> Any:
        if self._cluster == "slurm":
            handle.callback = self._queue
            self._queue.restart()
        return handle

    def _remember(self, key: str, job_id: str | None) -> None:
        known = {**(self._record.read("jobs") or {}), key: job_id}
        self._record.write("jobs", {key: value for key, value in known.items() if value is not None})

    def ended(self) -> Job:
        """Look at the jobs, again and again, until one is through."""
        while True:
            for key, (job, handle) in self._handles.items():
                if self._stop.requested:
                    raise Interrupted
                if handle.done():
                    del self._handles[key]
                    self._remember(key, None)
                    return self._judged(job, handle)
            time.sleep(self._look_seconds)

    def _judged(self, job: Job, handle: Any) -> Job:
        try:
            outcome: Outcome = handle.result()
        except Exception as error:  # whatever a job without a result makes submitit raise
            if self._stop.requested:
                raise Interrupted from None
            raise crash(
                job, f"its job {handle.job_id} ended without a result ({handle.state})", handle.paths.stderr
            ) from error
        if outcome["ended"] == "refused":
            raise refusal(job, outcome["message"])
        deadline = time.monotonic() + _FILES_SECONDS
        while not job.finished:
            if time.monotonic() > deadline:
                raise UserError(
                    f"{job.name}: its job {handle.job_id} is done, but {job.runs[0].folder.weights} is not here"
                )
            time.sleep(self._look_seconds)
        replay(self._callback, job.runs)
        self._say(f"  done  {job.name}")
        return job


def _make_executor(folder: Path, cluster: str, options: Mapping[str, Any]) -> Any:
    submitit = _submitit()
    prefixed = {key if key in _SHARED or "slurm_" in key else f"slurm_{key}": value for key, value in options.items()}
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster, **{f"{cluster}_max_num_timeout": _REQUEUES})
    except RuntimeError as error:
        raise UserError(f"--executor slurm: {error} Start it where jobs can be submitted.") from None
    try:
        executor.update_parameters(**{**_DEFAULTS, **prefixed})
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise UserError(f"--executor-option: {' '.join(str(error).split())}") from None
    return executor


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise UserError('--executor needs submitit, which is not installed; pip install "i2ikd[slurm]"') from None
    return submitit
