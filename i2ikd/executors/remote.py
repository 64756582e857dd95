"""Training of a job's payload in a worker process."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch

from i2ikd.attribution import describe_error
from i2ikd.callback import EpochContext, NullCallback
from i2ikd.engine.loop import Interrupted
from i2ikd.errors import UserError
from i2ikd.executors.base import Outcome
from i2ikd.imported import import_target
from i2ikd.registry import default_registry

Perform = Callable[[Mapping[str, Any], NullCallback], None]
"""Trains the job of a payload."""


class WorkerProgress(NullCallback):
    """Writes a line per epoch to stderr, the worker's log, and reports the steps.

    Args:
        report: receives steps made and steps in all, at the start and after every epoch.
    """

    def __init__(self, report: Callable[[int, int], None] | None = None) -> None:
        self._report = report
        self._done = self._steps = 0

    def on_train_start(self, name: str, steps: int, done: int) -> None:
        """Count from the steps made before."""
        self._done, self._steps = done, steps
        self._send()

    def on_step_end(self) -> None:
        """Count a step."""
        self._done += 1

    def on_epoch_end(self, context: EpochContext) -> None:
        """Write the losses."""
        print(context, file=sys.stderr, flush=True)
        self._send()

    def _send(self) -> None:
        if self._report is not None:
            self._report(self._done, self._steps)


def open_worker(setup: Mapping[str, Any]) -> Perform:
    """Set up this process as a worker; see ``WorkerSetup``.

    Raises:
        UserError: the entry function refuses its arguments.
    """
    os.chdir(setup["directory"])
    if setup["threads"] is not None:
        torch.set_num_threads(setup["threads"])
    perform: Perform = import_target(setup["entry"])(setup["arguments"])
    return perform


def perform(
    opened: Callable[[], Perform], payload: Mapping[str, Any], report: Callable[[int, int], None] | None = None
) -> Outcome:
    """Train the job of a payload and return how it ended.

    Args:
        opened: returns the function that trains.
        payload: of the job.
        report: receives steps made and steps in all, at the start and after every epoch.
    """
    try:
        opened()(payload, WorkerProgress(report))
    except (Interrupted, KeyboardInterrupt):
        return Outcome(ended="stopped", message="")
    except UserError as error:
        return Outcome(ended="refused", message=str(error))
    except BaseException as error:  # of a plugin or a library
        traceback.print_exc()
        return Outcome(ended="crashed", message=describe_error(error, default_registry()))
    return Outcome(ended="finished", message="")
