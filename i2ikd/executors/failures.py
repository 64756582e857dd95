"""Failed jobs: what they leave undone, and the error at the end of the others."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

from i2ikd.errors import UserError

if TYPE_CHECKING:
    from i2ikd.executors.base import Job


class JobFailed(UserError):  # noqa: N818 (an outcome, which ends no execution)
    """A job that could not be trained; jobs that do not need its runs are trained all the same.

    Args:
        job: the job.
        error: why.
    """

    def __init__(self, job: Job, error: UserError) -> None:
        super().__init__(str(error), error.details)
        self.job = job
        self.error = error


class Failures:
    """Failed jobs of an execution, and the jobs that need their runs."""

    def __init__(self) -> None:
        self._failed: list[JobFailed] = []
        self._lacking: dict[str, str] = {}
        """Name of the job that failed by the digest of each run that is lacking."""
        self._left_out: list[str] = []

    def add(self, failure: JobFailed) -> None:
        """Record a job that failed, and release what the frames of its traceback hold: networks and their gradients."""
        current: BaseException | None = failure
        while current is not None:
            traceback.clear_frames(current.__traceback__)
            current = current.__cause__ or current.__context__
        self._failed.append(failure)
        self._lacking |= dict.fromkeys(failure.job.provides, failure.job.name)

    def without_needing(self, jobs: Iterable[Job]) -> list[Job]:
        """Return the jobs that can still be trained, and record the others.

        Args:
            jobs: in any order.
        """
        left, number = list(jobs), -1
        while len(left) != number:  # a job that is left out leaves others out
            number = len(left)
            for job in list(left):
                causes = sorted({self._lacking[digest] for digest in job.requires if digest in self._lacking})
                if causes:
                    self._lacking |= dict.fromkeys(job.provides, causes[0])
                    self._left_out.append(f"{job.name} was not trained: it needs {', '.join(causes)}")
                    left.remove(job)
        return left

    def refuse(self) -> None:
        """Raise one error for all failed jobs, if there are any.

        Raises:
            UserError: the error of the first, with a detail for each further one of another message, and for each job
                that was left out.
        """
        if not self._failed:
            return
        distinct: dict[str, JobFailed] = {}
        for failure in self._failed:
            distinct.setdefault(str(failure), failure)
        first, *others = distinct.values()
        details = [*first.details, *map(_named, others), *self._left_out]
        if not others and not self._left_out:
            raise first.error
        message = str(first)
        if others:
            also = f"{len(self._failed) - 1} more failed" if len(self._failed) > 2 else "one more failed"
            message = f"{_named(first)}; {also}, and the same command trains what is missing"
        raise UserError(message, details) from first.error


def _named(failure: JobFailed) -> str:
    """Return the message of a failure, with the job's name if it has none."""
    message = str(failure)
    return message if failure.job.name in message else f"{failure.job.name}: {message}"
