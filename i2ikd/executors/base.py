"""Who trains the units of a comparison: one interface, and the simplest way, one after the other in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol

from i2ikd.config import apply_override
from i2ikd.engine.loop import Callback
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.jobs import Job, train_job

Kind = Literal["here", "slurm", "submitit-local"]
_ONE_TASK = {"nodes", "tasks_per_node"}


class Executor(Protocol):
    """Trains units. It is entered once; leaving it ends whatever still goes on, after checkpoints were saved."""

    slots: int
    """How many units it takes at a time."""

    def __enter__(self) -> object:
        """Make ready."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still goes on."""

    def start(self, job: Job) -> None:
        """Take a unit, whose teacher is finished."""

    def ended(self) -> Job:
        """Wait until one of the started units is finished, and return it.

        Raises:
            Interrupted: Ctrl-C or SIGTERM, here or where the unit was trained.
            UserError: a unit could not be trained; the message names it.
        """


class InProcessExecutor:
    """Trains in this process, one unit after the other.

    Args:
        bench: the experiment.
        watcher: is told how the work goes on.
    """

    slots = 1

    def __init__(self, context: ExperimentContext, callback: Callback | None = None) -> None:
        self._context = context
        self._callback = callback
        self._jobs: list[Job] = []

    def __enter__(self) -> InProcessExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing goes on by itself."""

    def start(self, job: Job) -> None:
        """Remember it."""
        self._jobs.append(job)

    def ended(self) -> Job:
        """Train it."""
        job = self._jobs.pop(0)
        train_job(self._context, job, self._callback)
        return job


def make_executor(
    context: ExperimentContext,
    callback: Callback | None,
    say: Callable[[str], None],
    *,
    kind: Kind = "here",
    processes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Executor:
    """Return the executor that a person asked for.

    Args:
        bench: the experiment.
        watcher: is told how the work goes on.
        say: is told the start and the end of every unit that is trained elsewhere.
        kind: ``here``: this machine; ``slurm``: jobs of a cluster; ``submitit-local``: this machine in its manner.
        processes: how many units are trained at a time; ``None``: one, on a cluster all that can start.
        options: of the jobs, for submitit.

    Raises:
        UserError: the executor cannot work here, or an option is wrong.
    """
    if kind == "here":
        if processes is None or processes == 1:
            return InProcessExecutor(context, callback)
        from i2ikd.executors.local import ProcessExecutor

        return ProcessExecutor(context, processes, say, callback)
    from i2ikd.executors.slurm import SlurmExecutor

    if kind == "slurm":
        return SlurmExecutor(context, "slurm", options or {}, processes or sys.maxsize, say, callback)
    return SlurmExecutor(context, "local", options or {}, processes or 1, say, callback)


def read_options(kind: str, texts: Sequence[str]) -> dict[str, Any]:
    """Read the ``key=value`` options of an executor; a value is TOML, or else a plain string.

    Raises:
        UserError: one of another form, one that would make more of a job than one task, or an executor without any.

    >>> read_options("slurm", ["partition=gpu", "timeout_min=90"])
    {'partition': 'gpu', 'timeout_min': 90}
    """
    if kind == "here" and texts:
        raise UserError("--executor-option is for --executor slurm; on this machine there is --processes")
    options: dict[str, Any] = {}
    for text in texts:
        try:
            apply_override(options, text)
        except UserError:
            raise UserError(f"--executor-option {text!r} is not of the form key=value, e.g. partition=gpu") from None
    for key in _ONE_TASK & options.keys():
        raise UserError(f"--executor-option {key}: a run is trained by one task; leave it out")
    return options
