"""Ways to train the runs of a comparison on the cores of this machine: ``python -m benchmarks.schedules``.

One process with all threads, the same in lockstep, one process for each core with one thread, and the same in lockstep.
Every measurement trains all runs of a small simulated experiment in a folder of its own, in a process of its own; the
start of its workers counts, its own start, scores and report do not. Rounds are interleaved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from rich.console import Console

from benchmarks.machine import processor
from benchmarks.measure import Spread
from benchmarks.table import Row, print_table
from benchmarks.worker import ROOT
from i2ikd.config import read_experiment
from i2ikd.executors.choice import make_executor
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.jobs import worker_setup
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.registry import default_registry

_ARMS = """
name = "schedules"
seeds = {seeds}
teacher = {{ model = "dc-cnn", cascades = 3, depth = 5, channels = 16 }}
student = {{ model = "dc-cnn", cascades = 3, depth = 3, channels = 16 }}
training = {{ epochs = {epochs}, batch = 4, device = "cpu" }}
comparison = {{ latency = false }}
task.name = "mri-recon"
task.dataset = {{ name = "phantom", train = 8, val = 1, test = 1, slices = 8, size = [{size}, {size}] }}
arms = [
    {{ name = "student" }},
    {{ name = "control", stages = 2 }},
    {{ name = "kd-mri", recipe = "kd-mri" }},
    {{ name = "imitation", recipe = "imitation", stages = 2 }},
    {{ name = "joint", recipe = "joint", stages = 2 }},
    {{ name = "fitnet", recipe = "joint", distiller = "fitnet", stages = 2 }},
]
"""


def ways(cores: int) -> dict[str, tuple[int, bool]]:
    """Return number of processes and lockstep by name of the schedule."""
    return {
        "one process": (1, False),
        "one process, lockstep": (1, True),
        f"{cores} processes": (cores, False),
        f"{cores} processes, lockstep": (cores, True),
    }


def train(experiment: Path, out: Path, processes: int, lockstep: bool) -> None:
    """Train all runs of an experiment, and print the seconds."""
    from i2ikd.callback import NullCallback
    from i2ikd.engine.device import keep_large_blocks

    keep_large_blocks()
    content = read_experiment(experiment)
    graph = RunGraph(ExperimentContext(content, default_registry(), out))
    check(graph, content.arms)  # reads the data, and imports what training needs
    wanted = plan(graph, content.arms, content.seeds, lockstep=lockstep)
    context, silent = graph.context, NullCallback()
    executor = make_executor(
        silent, lambda line: None, out / "workers", lambda threads: worker_setup(context, threads), processes=processes
    )
    start = time.monotonic()
    train_plan(graph, wanted, executor, lambda line: None, silent)
    print(time.monotonic() - start)


@click.command()
@click.option("--size", default=96, show_default=True, help="Side of the slices.")
@click.option("--seeds", default=2, show_default=True, help="Seeds of the comparison.")
@click.option("--epochs", default=6, show_default=True, help="Epochs of a stage.")
@click.option("--rounds", default=3, show_default=True, help="Interleaved rounds.")
@click.option("--cores", default=0, help="Threads of one process, and number of several; default: as torch selects.")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the rows here too.")
def main(size: int, seeds: int, epochs: int, rounds: int, cores: int, file: Path | None) -> None:
    """Time every schedule, and print how many times as fast as one process it is."""
    cores = cores or torch.get_num_threads()
    names, taken = list(ways(cores)), {name: list[float]() for name in ways(cores)}
    with tempfile.TemporaryDirectory() as root:
        experiment = Path(root) / "schedules.toml"
        experiment.write_text(_ARMS.format(seeds=list(range(seeds)), epochs=epochs, size=size), encoding="utf-8")
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                out = Path(root) / f"{turn}-{names.index(name)}"
                taken[name].append(_seconds(experiment, out, *ways(cores)[name], cores))
    group, one = f"6 arms x {seeds} seeds, {size} x {size}", taken[names[0]]
    rows = [
        Row(group, name, Spread.of([a / b for a, b in zip(one, times)]), detail=f"{Spread.of(times).median:.1f} s")
        for name, times in taken.items()
    ]
    description = {"processor": processor(), "threads": cores, "torch": torch.__version__}
    print_table(rows, description, Console(width=150))
    if file is not None:
        content = {"machine": description, "rows": [row.as_json() for row in rows]}
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _seconds(experiment: Path, out: Path, processes: int, lockstep: bool, cores: int) -> float:
    environment = {**os.environ, "OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)}
    code = f"from pathlib import Path; from benchmarks.schedules import train; train(Path({str(experiment)!r}), "
    code += f"Path({str(out)!r}), {processes}, {lockstep})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds = float(done.stdout.split()[-1])
    print(f"{out.name}: {processes} processes, lockstep {lockstep}: {seconds:.1f} s", file=sys.stderr)
    return seconds


if __name__ == "__main__":
    main()
