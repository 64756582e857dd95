"""Choice of ``--processes auto``: as many processes as cores, independent runs and memory permit."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from i2ikd.errors import UserError
from i2ikd.evaluation.machine import available_mib
from i2ikd.experiment.estimate import run_memory_mib
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.plan import Plan

_USABLE = 0.8
"""Share of the available memory that the processes may take; the rest is for the system's file cache."""


@dataclass(frozen=True)
class ProcessCount:
    """Number of processes, and why.

    Attributes:
        processes: how many groups of runs are trained at a time.
        threads: of each process.
        reason: for the user.
    """

    processes: int
    threads: int
    reason: str

    def __str__(self) -> str:
        return (
            f"training in {self.processes} process{'es' * (self.processes > 1)} of {self.threads} "
            f"thread{'s' * (self.threads > 1)} ({self.reason})"
        )


def choose_processes(graph: RunGraph, wanted: Plan) -> ProcessCount:
    """Return the number of processes that train the missing runs of a plan.

    On a CPU one process for each core, with one thread: separate runs need no synchronisation, and parts of a step use
    one core. There are fewer processes if there are fewer groups of runs, or if memory is short, which is measured with
    a few steps of the run that has the most inputs; the threads are divided among them. Interrupted runs go on with
    their number of threads, on which the last bits of their numbers depend. On GPUs one process for each.

    Args:
        graph: of the checked experiment.
        wanted: the plan of its runs.
    """
    groups = [group for group in wanted.groups if group[0].stages]
    cores = torch.get_num_threads()
    if graph.context.device.type == "cuda":
        count = max(1, min(torch.cuda.device_count(), len(groups)))
        return ProcessCount(count, max(1, cores // count), "one for each GPU")
    threads = _threads_of_interrupted(wanted)
    if threads is not None:
        return ProcessCount(max(1, cores // threads), threads, "as many threads as the interrupted runs had")
    if len(groups) < 2 or cores < 2:
        return ProcessCount(1, cores, f"runs to train: {len(groups)}" if cores > 1 else "1 core")
    run = max((run for group in groups for run in group), key=lambda run: (len(run.inputs), len(run.stages)))
    return limited(cores, len(groups), run_memory_mib(graph, run), available_mib())


def limited(cores: int, groups: int, run_mib: float, free_mib: float | None) -> ProcessCount:
    """Return the largest number of processes within all limits.

    Args:
        cores: number of threads that may be used.
        groups: of runs to train, each by one process.
        run_mib: memory of a process.
        free_mib: available memory; ``None``: unknown.

    >>> str(limited(cores=16, groups=40, run_mib=1000, free_mib=5000))
    'training in 4 processes of 4 threads (16 cores, memory: 1,000 of 5,000 MiB each)'
    """
    fitting = cores if free_mib is None else int(_USABLE * free_mib // max(run_mib, 1))
    count = max(1, min(cores, groups, fitting))
    reason = f"{cores} cores"
    if fitting < min(cores, groups):
        reason += f", memory: {run_mib:,.0f} of {free_mib:,.0f} MiB each"
    elif groups < cores:
        reason += f", {groups} runs to train"
    return ProcessCount(count, max(1, cores // count), reason)


def _threads_of_interrupted(wanted: Plan) -> int | None:
    """Return the number of threads of the first interrupted run that states it."""
    for decision in wanted.decisions:
        if decision.action == "go on":
            try:
                threads = (decision.run.folder.manifest().model_extra or {}).get("threads")
            except UserError:  # damaged: the run goes on all the same
                continue
            if isinstance(threads, int) and threads > 0:
                return threads
    return None
