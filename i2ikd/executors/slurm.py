"""Jobs of a Slurm cluster, by submitit (``pip install "i2ikd[slurm]"``).

A job that is preempted or near its time limit saves a checkpoint, requeues itself and continues from there; one that
the cluster ends without a warning is submitted again. Jobs outlive a comparison that is killed; the same
command finds them by their names and waits for them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from i2ikd.callback import Callback
from i2ikd.config import digest
from i2ikd.engine.loop import Interrupted, StopRequest
from i2ikd.errors import UserError
from i2ikd.executors.base import Job, Log, Outcome, WorkerSetup
from i2ikd.executors.failures import JobFailed
from i2ikd.executors.remote import open_worker, perform
from i2ikd.executors.squeue import Queue
from i2ikd.executors.worker_errors import crash, failure

_DEFAULTS: dict[str, Any] = {"timeout_min": 240}
_SHARED = {"name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "stderr_to_stdout"}
_REQUEUES = 100
"""Largest number of times that a job may reach its time limit."""
_FILES_SECONDS = 60.0
"""How long a shared file system may take until a file written on a node is visible on this machine."""
_ENDED_BY_CLUSTER = {"BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "TIMEOUT"}
"""States of jobs that ended for no reason of their own; the last of these where Slurm sent no warning."""
_SUBMISSIONS = 5
"""Largest number of times that a job is submitted which the cluster ends."""
_CANCEL_SECONDS = 40.0
"""Slurm kills a cancelled job 30 seconds after its SIGTERM."""


class RemoteJob:
    """The object submitit pickles: trains a job's payload in the process where it is called.

    Args:
        setup: of the worker, as JSON.
        payload: of the job.
    """

    def __init__(self, setup: Mapping[str, Any], payload: Mapping[str, Any]) -> None:
        self.setup = dict(setup)
        self.payload = dict(payload)

    def __call__(self) -> Outcome:
        """Train it. A job that is stopped leaves no result: it is cancelled, or will be started again."""
        requeue = _catch_signals()
        outcome = perform(lambda: open_worker(self.setup), self.payload)
        if outcome["ended"] == "stopped":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm ends what it requeues, scontrol in it included
            requeue()
            sys.exit(143)
        return outcome

    def checkpoint(self) -> Any:
        """Return what submitit starts again: the same job, whose checkpoint is on disk."""
        return _submitit().helpers.DelayedSubmission(self)


def _catch_signals() -> Callable[[], None]:
    """Delay submitit's requeueing, which happens in the middle of a step, until the step has ended and was saved.

    Returns:
        A function to call then: it requeues the job and ends the process if the cluster requested that, else nothing.
    """
    warnings = (signal.SIGUSR1, signal.SIGUSR2)
    handlers = [handler for number in warnings if callable(handler := signal.getsignal(number))]
    warned: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def warn(number: int, frame: FrameType | None) -> None:
        warned.append(number)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)  # the loop puts its own in place, which waits for the end of a step
    for number in warnings if handlers else ():  # submitit handles one of the two; clusters send either
        signal.signal(number, warn)

    def requeue_if_requested() -> None:
        if handlers and (warned or _is_preempted()):
            handlers[0](signal.SIGUSR2, None)

    return requeue_if_requested


def _is_preempted() -> bool:
    """Whether SIGTERM came from a preemption: Slurm cancels such a job later, and requeues none that ended before."""
    environment = _submitit().JobEnvironment()
    return environment.cluster == "slurm" and Queue().get_state(environment.job_id, "force") == "RUNNING"


class SlurmExecutor:
    """Trains jobs on a cluster; their logs are in ``folder``.

    Args:
        cluster: ``slurm``, or ``local``: processes of this machine through the same interface, for trials.
        options: submitit's parameters; those of Slurm alone (partition, qos, ...) by their plain names.
        slots: how many jobs at a time.
        setup: returns the setup of workers for a number of threads.
        folder: for the logs, on a file system that the nodes share.
        log: prints the submission and the end of every job.
        callback: receives the history of a run when it is finished.
        label: name of the cluster's jobs.

    Raises:
        UserError: submitit is not installed, this machine has no Slurm, or an option is wrong.
    """

    def __init__(
        self,
        cluster: Literal["slurm", "local"],
        options: Mapping[str, Any],
        slots: int,
        setup: Callable[[int | None], WorkerSetup],
        folder: Path,
        log: Log,
        callback: Callback,
        label: str,
    ) -> None:
        self.slots = slots
        self._make_setup = setup
        self._log = log
        self._callback = callback
        self._label = label
        self._folder = folder.resolve()
        self._cluster = cluster
        self._threads: int | None = options.get("cpus_per_task", 1 if cluster == "local" else None)
        self._executor = _make_executor(self._folder, cluster, options)
        self._queue = Queue()
        self._jobs: dict[str, tuple[Job, Any]] = {}
        self._submissions: dict[str, int] = {}
        self._stop = StopRequest()

    def __enter__(self) -> Self:
        self._setup = self._make_setup(self._threads).as_json()
        self._stop.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel jobs that still run, and wait until they saved checkpoints."""
        try:
            if self._jobs:
                self._log(f"  stop  {', '.join(job.name for job, _ in self._jobs.values())}: cancelling")
            for _, handle in self._jobs.values():
                handle.cancel(check=False)
            deadline = time.monotonic() + _CANCEL_SECONDS
            while time.monotonic() < deadline and any(not h.done(force_check=True) for _, h in self._jobs.values()):
                time.sleep(self._poll_seconds)
        finally:
            self._stop.__exit__(kind, error, trace)

    @property
    def _poll_seconds(self) -> float:
        return 2.0 if self._cluster == "slurm" else 0.2

    def submit(self, job: Job) -> None:
        """Submit the job, or find the one that an earlier command submitted for it.

        Raises:
            JobFailed: the cluster rejects it or does not respond.
        """
        try:
            handle = self._submitted_before(job)
        except UserError as error:  # a second job would write into the files of the first
            raise JobFailed(job, UserError(f"{job.name}: {error}")) from None
        if handle is not None:
            self._log(f"  wait  {job.name}  (job {handle.job_id})")
            self._jobs[job.key] = (job, handle)
        else:
            self._submit(job)

    def _submit(self, job: Job) -> None:
        try:
            self._executor.update_parameters(name=self._label + self._ending(job))
            handle = self._watched(self._executor.submit(RemoteJob(self._setup, job.payload)))
        except Exception as error:  # submitit's errors, and any of sbatch for a wrong parameter
            reason = " ".join(str(error).split())
            raise JobFailed(job, UserError(f"{job.name} could not be submitted: {reason}")) from error
        self._submissions[job.key] = self._submissions.get(job.key, 0) + 1
        self._log(f"submit  {job.name}  (job {handle.job_id})")
        self._jobs[job.key] = (job, handle)

    def _ending(self, job: Job) -> str:
        """Return the end of the name of a job's cluster job, by which later commands on the same folder find it."""
        return "-" + digest([str(self._folder), job.key])[:12]

    def _submitted_before(self, job: Job) -> Any | None:
        """Return the handle of an earlier command's job that still waits or runs; a local one cannot be found again."""
        if self._cluster == "local":
            return None
        job_id = self._queue.find(self._ending(job))
        return job_id and self._watched(_submitit().SlurmJob(folder=self._folder, job_id=job_id))

    def _watched(self, handle: Any) -> Any:
        if self._cluster == "slurm":
            handle.watcher = self._queue
            self._queue.restart()
        return handle

    def wait(self) -> Job:
        """Poll the jobs until one has ended; one that the cluster ended is submitted again."""
        while True:
            for key, (job, handle) in list(self._jobs.items()):
                if self._stop.requested:
                    raise Interrupted
                if handle.done():
                    del self._jobs[key]
                    if self._finished(job, handle):
                        return job
            time.sleep(self._poll_seconds)

    def _finished(self, job: Job, handle: Any) -> bool:
        """Return whether an ended job trained its runs; ``False``: it was submitted again."""
        try:
            outcome: Outcome = handle.result()
        except Exception as error:  # submitit raises various errors for a job without a result
            if self._stop.requested:
                raise Interrupted from None
            if handle.state in _ENDED_BY_CLUSTER and self._submissions.get(job.key, 0) < _SUBMISSIONS:
                self._log(
                    f" ended  {job.name}  (job {handle.job_id}: {handle.state}; it continues from its checkpoint)"
                )
                self._submit(job)
                return False
            how = f"its job {handle.job_id} ended without a result ({handle.state})"
            raise crash(job, how, handle.paths.stderr) from error
        if outcome["ended"] != "finished":
            raise failure(job, outcome, handle.paths.stderr)
        deadline = time.monotonic() + _FILES_SECONDS
        while not job.is_finished():
            if time.monotonic() > deadline:
                message = f"{job.name}: job {handle.job_id} has ended, but its weights are not visible on this machine"
                raise JobFailed(job, UserError(message))
            time.sleep(self._poll_seconds)
        job.replay(self._callback)
        self._log(f"  done  {job.name}")
        return True


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
