"""Errors for jobs that another process could not train."""

from __future__ import annotations

from pathlib import Path

from i2ikd.errors import UserError
from i2ikd.executors.base import Job, Outcome
from i2ikd.executors.failures import JobFailed


def failure(job: Job, outcome: Outcome, log: Path) -> JobFailed:
    """Return the error of a worker as this process's; the job's name precedes a message that names no run.

    Args:
        job: that failed.
        outcome: refused, or crashed.
        log: of the worker, which has the traceback of a crash.
    """
    message = outcome["message"].replace("I2IKD_TRACEBACK=1 prints the whole traceback", f"{log} has the traceback")
    named = any(name in message for name in (job.name, *job.payload.get("runs", ())))
    return JobFailed(job, UserError(message if named else f"{job.name}: {message}"))


def crash(job: Job, how: str, log: Path) -> JobFailed:
    """Return the error for a worker that ended without an outcome: how it ended, and the last line of its log."""
    text = log.read_text("utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return JobFailed(job, UserError(f"{job.name}: {how}; {log} ends with: {lines[-1] if lines else 'nothing'}"))
