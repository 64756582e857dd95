"""An experiment opened in another process than the comparison's, and its units trained there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch

from i2ikd.config import check_experiment
from i2ikd.engine.loop import Interrupted, NullCallback
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.jobs import job_from_payload, train_job
from i2ikd.lifecycle import EpochContext
from i2ikd.registry import default_registry


class Outcome(TypedDict):
    """What became of a unit."""

    ended: Literal["well", "stopped", "refused"]
    message: str
    """Of the user's error, where it was refused."""


class EpochLines(NullCallback):
    """Writes a line an epoch to stderr, which is the worker's log."""

    def epoch_ended(self, trainer: str, context: EpochContext, epochs: int) -> None:
        """Write the losses."""
        losses = "  ".join(f"{name} {value:.5g}" for name, value in context.losses.items() if name != "total")
        judged = f"  validation {context.validation:.5g}" if context.validation is not None else ""
        line = f"{trainer}  {context.stage.stage.name} epoch {context.epoch + 1}  {losses}{judged}"
        print(line, file=sys.stderr, flush=True)


def remote_setup(context: ExperimentContext, threads: int | None) -> dict[str, Any]:
    """What a worker needs to know before its first unit, as JSON; nothing in it is left to be measured there.

    Args:
        bench: the experiment; its device and precision are passed on as they were found here.
        threads: of each worker; ``None``: as many as torch takes.
    """
    found = {"device": context.trained_on, "precision": context.precision}
    training = context.training.model_copy(update=found)
    experiment = context.experiment.model_copy(update={"training": training})
    return {
        "experiment": experiment.model_dump(mode="json", exclude_unset=True),
        "out": str(context.store.root.resolve()),
        "folder": str(Path.cwd()),
        "threads": threads,
    }


def open_experiment(setup: dict[str, Any]) -> ExperimentContext:
    """Make the experiment ready in this process.

    Raises:
        UserError: it cannot be made ready here.
    """
    os.chdir(setup["folder"])
    if setup["threads"] is not None:
        torch.set_num_threads(setup["threads"])
    return ExperimentContext(
        check_experiment(setup["experiment"], "the experiment"), default_registry(), Path(setup["out"])
    )


def perform(opened: Callable[[], ExperimentContext], payload: dict[str, Any]) -> Outcome:
    """Train the unit of an order."""
    try:
        context = opened()
        train_job(context, job_from_payload(context, payload), EpochLines())
    except (Interrupted, KeyboardInterrupt):
        return Outcome(ended="stopped", message="")
    except UserError as error:
        return Outcome(ended="refused", message=str(error))
    return Outcome(ended="well", message="")
