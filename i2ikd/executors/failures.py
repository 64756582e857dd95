"""Failed jobs: what they leave undone, and the error at the end of the others."""

from __future__ import annotations

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


class Failures:
    """Failed jobs of an execution, and the jobs that need their runs."""

    def __init__(self) -> None:
        self._failed: list[JobFailed] = []
        self._lacking: dict[str, str] = {}
        """Name of the job that failed by the digest of each run that is lacking."""
        self._left_out: list[str] = []

    def add(self, failure: JobFailed) -> None:
        """Record a job that failed."""
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
            UserError: the error of the only one, or the number of them with a detail line for each; the jobs that were
                left out are details.
        """
        if not self._failed:
            return
        if len(self._failed) == 1:
            (failure,) = self._failed
            raise UserError(str(failure), [*failure.details, *self._left_out]) from failure
        names = [failure.job.name for failure in self._failed]
        reasons = [_named(failure) for failure in self._failed]
        raise UserError(
            f"{len(names)} jobs failed ({', '.join(names)}), the others are finished; "
            "start the same command again to train what is missing",
            [*reasons, *self._left_out],
        ) from self._failed[0]


def _named(failure: JobFailed) -> str:
    """Return the message of a failure, with the job's name if it has none."""
    message = str(failure)
    return message if failure.job.name in message else f"{failure.job.name}: {message}"
