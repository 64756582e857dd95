"""Jobs, the executor interface, scheduling by requirements, and the executor that runs jobs in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict

from i2ikd.callback import Callback
from i2ikd.errors import UserError, shortened
from i2ikd.executors.failures import Failures, JobFailed

Log = Callable[[str], None]
"""Prints one line for the user."""


@dataclass(frozen=True)
class Job:
    """Runs trained in one pass over the data, by one process.

    Attributes:
        name: for messages, e.g. ``students/kd-mri/seed0``.
        key: content address of the job, under which an earlier command registered it.
        payload: JSON from which another process makes the same job.
        affinity: jobs of equal affinity share state in a worker, e.g. the seed.
        run: trains it in this process; takes the callback.
        is_finished: whether its results exist.
        replay: passes the results of a job trained by another process to a callback.
        provides: digests of the runs it trains.
        requires: digests of the runs it needs, whichever job trains them.
    """

    name: str
    key: str
    payload: Mapping[str, Any]
    affinity: object
    run: Callable[[Callback], None] = field(compare=False)
    is_finished: Callable[[], bool] = field(compare=False)
    replay: Callable[[Callback], None] = field(compare=False)
    provides: frozenset[str] = frozenset()
    requires: frozenset[str] = frozenset()


class Outcome(TypedDict):
    """How a job ended in another process."""

    ended: Literal["finished", "stopped", "refused", "crashed"]
    """Refused: a user error; crashed: any other, after which the process trains no further job."""
    message: str
    """Of the error."""


@dataclass(frozen=True)
class WorkerSetup:
    """Setup of a worker process before its first job, as JSON.

    Attributes:
        entry: ``package.module:function``; called with ``arguments``, it returns a function that performs payloads.
        arguments: of ``entry``.
        directory: working directory.
        threads: of torch in each worker; ``None``: torch's own choice.
    """

    entry: str
    arguments: Mapping[str, Any]
    directory: str
    threads: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON-able dict."""
        return {
            "entry": self.entry,
            "arguments": dict(self.arguments),
            "directory": self.directory,
            "threads": self.threads,
        }


class Executor(Protocol):
    """Trains jobs. It is entered once; leaving it ends jobs that still run, after they saved checkpoints."""

    slots: int
    """How many jobs it takes at a time."""

    def __enter__(self) -> object:
        """Start."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End jobs that still run."""

    def submit(self, job: Job) -> None:
        """Start a job whose requirements are finished.

        Raises:
            JobFailed: it could not be started.
        """

    def wait(self) -> Job:
        """Wait until one of the submitted jobs is finished, and return it.

        Raises:
            Interrupted: Ctrl-C or SIGTERM, in this process or in that of the job.
            JobFailed: a job failed; the message names it.
        """


class InProcessExecutor:
    """Trains in this process, one job after the other.

    Args:
        callback: receives the events of training.
    """

    slots = 1

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._jobs: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: no job runs outside ``wait``."""

    def submit(self, job: Job) -> None:
        """Put the job into the queue."""
        self._jobs.append(job)

    def wait(self) -> Job:
        """Train the first job of the queue."""
        job = self._jobs.pop(0)
        try:
            job.run(self._callback)
        except UserError as error:
            raise JobFailed(job, error) from error
        return job


def execute(
    jobs: Sequence[Job],
    executor: Executor,
    on_submit: Callable[[Job], None] = lambda job: None,
    log: Log = lambda line: None,
    stop_at_failure: bool = False,
) -> None:
    """Train every job, each after those that train the runs it requires.

    A job that fails leaves out only those that need its runs; its error is raised when the others have ended.

    Args:
        jobs: in the order in which they start when nothing else decides.
        executor: trains them.
        on_submit: called just before a job starts.
        log: prints a line for a job that failed while others go on.
        stop_at_failure: raise the error of a job at once, for processes that train together.

    Raises:
        Interrupted: after checkpoints were saved.
        UserError: a job failed.
    """
    waiting, running = list(jobs), list[Job]()
    if not waiting:
        return
    if executor.slots > 1:  # first those that others wait for
        needed = frozenset().union(*(job.requires for job in jobs))
        waiting = sorted(jobs, key=lambda job: not job.provides & needed)
    failures = Failures()
    with executor:
        while waiting or running:
            ready = _ready(waiting, running, executor.slots - len(running))
            assert ready or running, "the graph of runs has a cycle"
            try:
                for job in ready:
                    on_submit(job)
                    waiting.remove(job)
                    executor.submit(job)
                    running.append(job)
                running.remove(executor.wait())
            except JobFailed as failure:
                if stop_at_failure:
                    raise
                running = [job for job in running if job is not failure.job]
                failures.add(failure)
                waiting = failures.without_needing(waiting)
                if waiting or running:
                    log(f"failed  {failure.job.name}  ({shortened(str(failure))})")
    failures.refuse()


def _ready(waiting: Sequence[Job], running: Sequence[Job], most: int) -> list[Job]:
    """Return the first waiting jobs, at most so many, that require no run of another job that has not ended."""
    missing = frozenset().union(*(job.provides for job in (*waiting, *running)))
    return list(islice((job for job in waiting if not (job.requires - job.provides) & missing), most))
