"""Results of ``i2ikd infer``: computed volume by volume, printed as lines or JSON, with the failures at the end."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console

from i2ikd.cli.result import print_json
from i2ikd.cli.volume_progress import VolumeProgress
from i2ikd.errors import UserError
from i2ikd.evaluation.infer import Inference, concerns_all
from i2ikd.evaluation.inference_plan import Failure, InferenceItem, InferencePlan


class InferenceResults:
    """Results of the volumes of a plan, printed while they are computed.

    Args:
        found: the volumes.
        console: output of progress and messages; stderr when stdout carries JSON.
        as_json: whether the results are printed as JSON at the end.
    """

    def __init__(self, found: InferencePlan, console: Console, as_json: bool) -> None:
        self._plan = found
        self._console = console
        self._as_json = as_json
        self._written: list[dict[str, Any]] = []
        self._failed = list(found.failed)
        self._errors: list[UserError] = []
        self._stated: set[str] = set()

    def _log(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def compute(self, infer: Inference) -> None:
        """Compute the volumes one after the other; failures are recorded.

        Raises:
            UserError: an error that concerns all volumes, such as a full disk.
        """
        self._log_head()
        with VolumeProgress(self._console, len(self._plan.items)) as progress:
            for item in self._plan.items:
                try:
                    self._compute(infer, item, progress)
                except UserError as error:
                    if concerns_all(error):
                        raise
                    self._failed.append(Failure.of(item.source, error))
                    self._errors.append(error)
                    progress.end_volume()

    def _compute(self, infer: Inference, item: InferenceItem, progress: VolumeProgress) -> None:
        def iterate(numbers: range) -> Iterable[int]:
            return progress.slices(item.source.name, numbers)

        start = time.monotonic()
        result = infer(item, iterate, self._state)
        seconds = time.monotonic() - start
        progress.end_volume()
        row = {"input": str(item.source), "output": str(item.target), "slices": result.slices}
        row |= {"size": list(result.size), "seconds": seconds, "simulated": list(result.simulated)}
        self._written.append(row)
        slices = f"{result.slices} slice{'s' * (result.slices != 1)} of {result.size[0]} x {result.size[1]}"
        state = f"  [{progress.state()}]" if self._plan.is_folder else ""
        self._log(f"{item.source} -> {item.target}: {slices}, {seconds:.1f} s{state}")

    def _state(self, simulated: Sequence[str]) -> None:
        """Print what is simulated, each statement once."""
        for line in simulated:
            if line not in self._stated:
                self._stated.add(line)
                self._log(f"simulated: {line}")

    def _log_head(self) -> None:
        if self._plan.is_folder:
            skipped = f"; {len(self._plan.skipped)} skipped: results exist" if self._plan.skipped else ""
            self._log(f"{_volumes(len(self._plan.items))} to compute{skipped}")
            if passed := self._plan.passed_over:
                self._log(f"passed over: {len(passed)} (not read by the task), e.g. {passed[0]}")
        elif self._plan.skipped:
            self._log(f"{self._plan.skipped[0].target} exists: skipped")

    def show(self) -> None:
        """Print the summary of a folder, and the failures, or all results as JSON."""
        if self._as_json:
            skipped = [{"input": str(item.source), "output": str(item.target)} for item in self._plan.skipped]
            failed = [{"input": str(failure.source), "reason": failure.reason} for failure in self._failed]
            passed_over = [str(path) for path in self._plan.passed_over]
            document = {"written": self._written, "skipped": skipped, "failed": failed, "passed_over": passed_over}
            print_json(document)
        if self._plan.is_folder:
            counts = f"{len(self._written)} written, {len(self._plan.skipped)} skipped, {len(self._failed)} failed"
            self._log(counts)
            for failure in self._failed:
                click.echo(f"failed: {failure.source}: {failure.reason}", err=True)

    def how_to_continue(self, force: bool) -> str:
        """Return how many results are whole, and the command that computes the others."""
        done = f"{len(self._written)} of {len(self._plan.items)} results are written, all of them whole"
        arguments = [part for part in sys.argv[1:] if not force or part != "--force"]
        if force:
            return f"{done}. Start again with the same command; with --force it computes all of them"
        if "--skip-existing" not in arguments:
            arguments.append("--skip-existing")
        return f"{done}. Continue with: {shlex.join(['i2ikd', *arguments])}"

    def raise_failures(self) -> None:
        """Raise an error if a volume has no result.

        Raises:
            UserError: the error of a single file, or the number of failures in a folder.
        """
        if self._errors and not self._plan.is_folder:
            raise self._errors[0]
        if self._failed:
            total = len(self._plan.items) + len(self._plan.skipped) + len(self._plan.failed)
            raise UserError(
                f"{len(self._failed)} of {_volumes(total)} failed, listed above; the results of the others are written"
            )


def _volumes(number: int) -> str:
    return f"{number} volume{'s' * (number != 1)}"
