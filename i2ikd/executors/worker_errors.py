"""What is said of a unit that another process could not train."""

from __future__ import annotations

from pathlib import Path

from i2ikd.errors import UserError
from i2ikd.experiment.jobs import Job


def refusal(job: Job, message: str) -> UserError:
    """Return a worker's error as this process's: the message, with the unit's name unless it names a run itself."""
    named = any(run.name in message for run in job.runs)
    return UserError(message if named else f"{job.name}: {message}")


def crash(job: Job, how: str, log: Path) -> UserError:
    """Return the error for a worker that gave no answer: how it ended, and the last line that it wrote."""
    text = log.read_text("utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return UserError(f"{job.name}: {how}; {log} ends with: {lines[-1] if lines else 'nothing'}")
