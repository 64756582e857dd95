"""Options shared by several commands, and the functions that interpret them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from i2ikd.config import Arm, Experiment, read_experiment
from i2ikd.errors import UserError

_MOST_SEEDS = 1000

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
trust = click.option(
    "--trust",
    is_flag=True,
    help="Run code that the stored files name as import:package.module:Name; use it for files of your own.",
)
out_folder = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Output folder; unfinished runs in it are continued.",
)
lockstep = click.option(
    "--lockstep", is_flag=True, help="Train the arms of a seed in one pass over the data; results are identical."
)


class _Processes(click.IntRange):
    """Number of processes, or ``auto``."""

    name = "number or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``auto`` or the number."""
        return value if value == AUTO else super().convert(value, param, ctx)


AUTO: Literal["auto"] = "auto"
"""Value of ``--processes``: as many as cores, runs and memory of this machine permit."""
processes = click.option(
    "--processes",
    type=_Processes(min=1, max=1000),
    metavar="N|auto",
    help="Number of parallel runs: local processes that share the CPU cores, or the most jobs on a cluster; auto: as "
    "many as cores, runs and memory of this machine permit.",
)
executor = click.option(
    "--executor",
    type=click.Choice(["here", "slurm", "submitit-local"]),
    default="here",
    help="Executor of the runs: this machine, or jobs of a Slurm cluster (requires i2ikd[slurm]).",
)
executor_options = click.option(
    "--executor-option",
    "executor_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Job parameter of submitit, e.g. partition=gpu, timeout_min=120, gpus_per_node=1 (repeatable).",
)


def choose_arms(experiment: Experiment, names: str | None) -> list[Arm]:
    """Return the selected arms in the experiment's order.

    Args:
        experiment: the experiment.
        names: arm names separated by commas; all arms when ``None``.

    Raises:
        UserError: an unknown arm, or an empty selection.
    """
    if names is None:
        return list(experiment.arms)
    selected = {experiment.arm(name.strip()).name for name in names.split(",") if name.strip()}
    if not selected:
        raise UserError(f"--arms names no arm; known: {', '.join(arm.name for arm in experiment.arms)}")
    return [arm for arm in experiment.arms if arm.name in selected]


def choose_seeds(experiment: Experiment, count: int | None) -> list[int]:
    """Return the first ``count`` seeds of an experiment, extended by the least unused numbers.

    Args:
        experiment: the experiment.
        count: number of seeds, at least 1; the experiment's seeds when ``None``.

    Raises:
        UserError: ``count`` is below 1.
    """
    seeds = list(experiment.seeds)
    if count is None:
        return seeds
    if count > _MOST_SEEDS:
        raise UserError(f"--seeds: expected at most {_MOST_SEEDS:,}, got {count}; each seed trains every arm")
    if count < 1:
        raise UserError(f"--seeds: expected at least 1, got {count}")
    candidate = 0
    while len(seeds) < count:
        if candidate not in seeds:
            seeds.append(candidate)
        candidate += 1
    return seeds[:count]


def load_experiment(path: Path, changes: Sequence[str]) -> Experiment:
    """Read and validate an experiment.

    Args:
        path: TOML file.
        changes: overrides, as ``KEY=VALUE``.

    Raises:
        UserError: the file cannot be read, or a setting is invalid.
    """
    return read_experiment(path, changes)
