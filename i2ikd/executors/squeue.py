"""What Slurm's queue says of jobs, by ``squeue``.

submitit asks ``sacct``, which knows nothing on a cluster without an accounting database, and takes a suspended job,
or one whose node is being started, for ended.
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
"""Of a job that ended some minutes ago: Slurm has forgotten it."""
_LEAST_SECONDS, _MOST_SECONDS = 2.0, 60.0
"""Slurm is asked ever more rarely: it has other people to answer too."""


class Queue:
    """Takes the place of submitit's watcher: one answer of Slurm's about all jobs of this user."""

    def __init__(self) -> None:
        self._states: dict[str, str] | None = None
        self._began = self._asked = float("-inf")

    def restart(self) -> None:
        """Ask more often again: a job was submitted, and most that fail do so at once."""
        self._began, self._asked = time.monotonic(), float("-inf")

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """Return Slurm's name of a job's state, ``NO LONGER QUEUED``, or ``UNKNOWN`` while Slurm does not answer.

        Args:
            job_id: the job.
            mode: ``force`` asks Slurm in any case, ``standard`` only if its answer is old, ``cache`` never.
        """
        now = time.monotonic()
        pause = min(_MOST_SECONDS, max(_LEAST_SECONDS, (now - self._began) / 2))
        if mode == "force" or (mode == "standard" and now - self._asked >= pause):
            self._states = _ask()
            self._asked = time.monotonic()
        return "UNKNOWN" if self._states is None else self._states.get(job_id, _GONE)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job has ended, for certain; see ``get_state``."""
        state = self.get_state(job_id, mode)
        return state in _ENDED or state == _GONE


def _ask() -> dict[str, str] | None:
    """Return the state of every job of this user by its number; ``None``: Slurm does not answer."""
    command = ["squeue", "--noheader", "--states=all", f"--user={os.geteuid()}", "--format=%i|%T"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}  # filters
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return None
    return dict(line.strip().split("|", 1) for line in answer.stdout.splitlines() if "|" in line)
