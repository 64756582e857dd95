"""States and names of Slurm jobs, read from ``squeue``.

submitit reads ``sacct``, which has no information on clusters without an accounting database, and treats a suspended
job, or one whose node is being started, as ended.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import NamedTuple

from i2ikd.errors import UserError

_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
_GONE = "NO LONGER QUEUED"
"""State of a job that ended some minutes ago and that ``squeue`` no longer lists."""
_MIN_SECONDS, _MAX_SECONDS = 2.0, 60.0
"""Bounds of the time between two queries, which grows with the time since the last submission to limit the load."""


class _Queued(NamedTuple):
    state: str
    name: str


class Queue:
    """Replacement for submitit's job watcher: one ``squeue`` call for all jobs of this user."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Queued] | None = None
        self._started = self._queried = float("-inf")

    def restart(self) -> None:
        """Query at the shortest interval again, after a submission: most jobs that fail do so at once."""
        self._started, self._queried = time.monotonic(), float("-inf")

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """Return the state of a job.

        Args:
            job_id: number of the job.
            mode: ``force`` always calls ``squeue``, ``standard`` only if its last output is old, ``cache`` never.

        Returns:
            Slurm's name of the state, ``NO LONGER QUEUED``, or ``UNKNOWN`` if ``squeue`` fails.
        """
        now = time.monotonic()
        pause = min(_MAX_SECONDS, max(_MIN_SECONDS, (now - self._started) / 2))
        if mode == "force" or (mode == "standard" and now - self._queried >= pause):
            self._query()
        if self._jobs is None:
            return "UNKNOWN"
        return self._jobs[job_id].state if job_id in self._jobs else _GONE

    def _query(self) -> None:
        self._jobs = _query()
        self._queried = time.monotonic()

    def find(self, ending: str) -> str | None:
        """Return the number of a job that waits or runs, whichever process submitted it; ``squeue`` is called.

        Args:
            ending: last characters of the job's name.

        Raises:
            UserError: ``squeue`` fails.
        """
        self._query()
        if self._jobs is None:
            raise UserError(
                "squeue does not report which jobs of an earlier command still run; start the command again later"
            )
        running = (job for job, entry in self._jobs.items() if entry.name.endswith(ending))
        return next((job for job in running if self._jobs[job].state not in _ENDED), None)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has certainly ended.

        Args:
            job_id: number of the job.
            mode: see ``get_state``.
        """
        state = self.get_state(job_id, mode)
        return state in _ENDED or state == _GONE


def _query() -> dict[str, _Queued] | None:
    """Return all jobs of this user by number; ``None`` if ``squeue`` fails."""
    command = ["squeue", "--noheader", "--states=all", f"--user={os.geteuid()}", "--format=%i|%T|%j"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}  # filters
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        return None
    parts = (line.strip().split("|", 2) for line in completed.stdout.splitlines())
    return {job: _Queued(state, name) for job, state, name in (part for part in parts if len(part) == 3)}
