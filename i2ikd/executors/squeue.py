"""States of Slurm jobs, read from ``squeue``.

submitit reads ``sacct``, which has no information on clusters without an accounting database, and treats a suspended
job, or one whose node is being started, as ended.
"""

from __future__ import annotations

import os
import subprocess
import time

_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "REVOKED",
    "TIMEOUT",
}
_GONE = "NO LONGER QUEUED"
"""State of a job that ended some minutes ago and that ``squeue`` no longer lists."""
_MIN_SECONDS, _MAX_SECONDS = 2.0, 60.0
"""Bounds of the time between two queries, which grows with the time since the last submission to limit the load."""


class Queue:
    """Replacement for submitit's job watcher: one ``squeue`` call for all jobs of this user."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None
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
            self._states = _query()
            self._queried = time.monotonic()
        return "UNKNOWN" if self._states is None else self._states.get(job_id, _GONE)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has certainly ended.

        Args:
            job_id: number of the job.
            mode: see ``get_state``.
        """
        state = self.get_state(job_id, mode)
        return state in _ENDED or state == _GONE


def _query() -> dict[str, str] | None:
    """Return the states of all jobs of this user by number; ``None`` if ``squeue`` fails."""
    command = ["squeue", "--noheader", "--states=all", f"--user={os.geteuid()}", "--format=%i|%T"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}  # filters
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        return None
    return dict(line.strip().split("|", 1) for line in completed.stdout.splitlines() if "|" in line)
