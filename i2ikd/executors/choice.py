"""Choice of an executor by name, and its options from the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from i2ikd.callback import Callback
from i2ikd.config import apply_override
from i2ikd.errors import UserError
from i2ikd.executors.base import Executor, InProcessExecutor, Log, WorkerSetup

ExecutorName = Literal["here", "slurm", "submitit-local"]
_ONE_TASK = {"nodes", "tasks_per_node"}


def make_executor(
    callback: Callback,
    log: Log,
    folder: Path,
    setup: Callable[[int | None], WorkerSetup],
    *,
    name: ExecutorName = "here",
    processes: int | None = None,
    options: Mapping[str, Any] | None = None,
    label: str = "i2ikd",
    gpus: bool = False,
    threads: int | None = None,
) -> Executor:
    """Return an executor by name.

    Args:
        callback: receives the events of training, and the histories of runs trained by other processes.
        log: prints the start and the end of jobs trained by other processes.
        folder: for workers' logs.
        setup: returns the setup of workers for a number of threads.
        name: ``here``: this machine; ``slurm``: jobs of a cluster; ``submitit-local``: the same on this machine.
        processes: how many jobs at a time; ``None``: one, on a cluster all that can start.
        options: of the cluster's jobs, for submitit.
        label: name of the cluster's jobs.
        gpus: whether workers compute on GPUs and share those of this machine.
        threads: of each local process; ``None``: torch's, divided by their number.

    Raises:
        UserError: the executor cannot work on this machine, or an option is wrong.
    """
    if name == "here":
        if processes is None or processes == 1:
            return InProcessExecutor(callback)
        from i2ikd.executors.local import ProcessExecutor

        return ProcessExecutor(processes, setup, folder, log, callback, gpus=gpus, threads=threads)
    from i2ikd.executors.slurm import SlurmExecutor

    if name == "slurm":
        return SlurmExecutor("slurm", options or {}, processes or sys.maxsize, setup, folder, log, callback, label)
    return SlurmExecutor("local", options or {}, processes or 1, setup, folder, log, callback, label)


def read_options(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Read the ``key=value`` options of an executor; a value is TOML, or else a plain string.

    Raises:
        UserError: one of another form, one that would give a job several tasks, or an executor without options.

    >>> read_options("slurm", ["partition=gpu", "timeout_min=90"])
    {'partition': 'gpu', 'timeout_min': 90}
    """
    if name == "here" and texts:
        raise UserError("--executor-option is for --executor slurm; on this machine use --processes")
    options: dict[str, Any] = {}
    for text in texts:
        try:
            apply_override(options, text)
        except UserError:
            raise UserError(f"--executor-option {text!r} is not of the form key=value, e.g. partition=gpu") from None
    for key in _ONE_TASK & options.keys():
        raise UserError(f"--executor-option {key}: a run is trained by one task; leave it out")
    return options
