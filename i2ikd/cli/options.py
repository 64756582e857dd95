"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from i2ikd.config import Arm, Experiment, read_experiment
from i2ikd.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])

experiment_file = click.argument("experiment", type=click.Path(path_type=Path), metavar="EXPERIMENT.toml")
overrides = click.option(
    "-o",
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, e.g. -o student.depth=4 -o arms.kd-mri.alpha=0.3 (repeatable).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
out_folder = click.option(
    "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Output folder; a run goes on in it."
)
lockstep = click.option("--lockstep", is_flag=True, help="Train the arms of a seed in one pass; same numbers.")
processes = click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train N runs at a time, in processes that share the CPU cores; on a cluster at most N jobs.",
)
executor = click.option(
    "--executor",
    type=click.Choice(["here", "slurm", "submitit-local"]),
    default="here",
    help="Where runs are trained: on this machine, or as jobs of a Slurm cluster (needs i2ikd[slurm]).",
)
executor_options = click.option(
    "--executor-option",
    "executor_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="A parameter of the jobs, as submitit names it, e.g. partition=gpu, timeout_min=120, gpus_per_node=1.",
)


def choose_arms(experiment: Experiment, names: str | None) -> list[Arm]:
    """Return the arms named in ``a,b``, in the experiment's order; all without names.

    Raises:
        UserError: one does not exist.
    """
    if names is None:
        return list(experiment.arms)
    wanted = {experiment.arm(name.strip()).name for name in names.split(",") if name.strip()}
    if not wanted:
        raise UserError(f"--arms names no arm; the experiment has {', '.join(arm.name for arm in experiment.arms)}")
    return [arm for arm in experiment.arms if arm.name in wanted]


def choose_seeds(experiment: Experiment, count: int | None) -> list[int]:
    """Return the first ``count`` seeds; beyond those of the experiment, the next unused numbers."""
    seeds = list(experiment.seeds)
    if count is None:
        return seeds
    if count < 1:
        raise UserError(f"--seeds {count}: at least one seed is needed")
    candidate = 0
    while len(seeds) < count:
        if candidate not in seeds:
            seeds.append(candidate)
        candidate += 1
    return seeds[:count]


def load_experiment(path: Path, changes: Sequence[str]) -> Experiment:
    """Read and check an experiment with its overrides."""
    return read_experiment(path, changes)
