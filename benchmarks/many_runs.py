"""Time of planning, scoring and reporting a comparison of many arms whose runs are written and not trained."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measure import Spread
from benchmarks.table import Row
from i2ikd.config import Experiment, read_experiment
from i2ikd.engine.run import Run, network_builder, save_weights, write_run_record
from i2ikd.executors.base import Job
from i2ikd.experiment.budget import unequal_budgets
from i2ikd.experiment.checks import check
from i2ikd.experiment.compare import compare
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.folder import claim
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.left_out import left_out
from i2ikd.experiment.levers import missing_levers
from i2ikd.experiment.plan import Plan, plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.registry import Registry, default_registry
from i2ikd.report.load import load_comparison
from i2ikd.report.pictures import collect_pictures, save_pictures
from i2ikd.report.table import print_comparison
from i2ikd.report.write import write_report

_EPOCHS = 20
"""Rows of the training history of every run."""
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def document(arms: int, seeds: int) -> dict[str, Any]:
    """Return an experiment of arms with different options on tiny simulated slices: student, control, and others.

    Args:
        arms: number of arms, at least 2.
        seeds: number of seeds.
    """
    made: list[dict[str, Any]] = [{"name": "student"}, {"name": "control", "stages": 2}]
    for number in range(arms - len(made)):
        arm: dict[str, Any] = {"name": f"arm-{number}", "recipe": ("kd-mri", "imitation", "joint")[number % 3]}
        arm["alpha"] = round((number + 1) / (arms + 1), 6)
        if arm["recipe"] == "joint":
            arm["distiller"] = ("attention", "fitnet")[number % 2]
        if number % 10 == 0:
            arm["student"] = {"channels": 5 + number // 10 % 4}
        made.append(arm)
    dataset = {"name": "phantom", "train": 2, "val": 1, "test": 10, "slices": 2, "size": [16, 16]}
    return {
        "name": "many-arms",
        "seeds": list(range(seeds)),
        "task": {"name": "mri-recon", "dataset": dataset},
        "teacher": {"model": "dc-cnn", "cascades": 2, "depth": 4, "channels": 4},
        "student": {"model": "dc-cnn", "cascades": 2, "depth": 3, "channels": 4},
        "training": {"epochs": 2, "batch": 2, "device": "cpu"},
        "arms": made,
    }


class Fabricator:
    """Executor that writes the files of every run, with initial weights and an invented history, and trains nothing.

    Args:
        runs: by name.
        registry: of the models.

    Attributes:
        seconds: that the writing took.
    """

    slots = 2

    def __init__(self, runs: dict[str, Run], registry: Registry) -> None:
        self._runs, self._registry = runs, registry
        self._jobs: list[Job] = []
        self.seconds = 0.0

    def __enter__(self) -> Fabricator:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no process was started."""

    def submit(self, job: Job) -> None:
        """Put the job into the queue."""
        self._jobs.append(job)

    def wait(self) -> Job:
        """Write the first job's runs."""
        start, job = time.monotonic(), self._jobs.pop(0)
        for name in job.payload["runs"]:
            run = self._runs[name]
            write_run_record(run)
            run.folder.write("history", _history(run))
            network = network_builder(self._registry, run.specification, name)()
            save_weights(run.specification, run.folder, network, ["history.json"])
        self.seconds += time.monotonic() - start
        return job


def _history(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage.stage.name,
            "epoch": epoch,
            "losses": {"target": 0.1 / (epoch + 1 + run.specification.seed), "total": 0.1 / (epoch + 1)},
            "lr": 1e-3,
            "validation": 0.12 / (epoch + 1),
        }
        for stage in run.stages
        for epoch in range(_EPOCHS // len(run.stages))
    ]


class Clock:
    """Seconds by name of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure a block."""
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def measure(arms: int, seeds: int, folder: Path, clock: Clock) -> Path:
    """Plan, write, score and report a comparison; the seconds of every step are in ``clock``.

    Args:
        arms: number of arms.
        seeds: number of seeds.
        folder: empty; the files are left in it.
        clock: receives the seconds.

    Returns:
        The folder of the comparison.
    """
    file, out = folder / "many.toml", folder / "out"
    file.write_text(_toml(document(arms, seeds)), encoding="utf-8")
    default_registry()
    with clock("read"):
        experiment = read_experiment(file)
    graph = _graph(experiment, out)
    with clock("check"):
        check(graph, experiment.arms)
    with clock("notes"):
        left_out(graph, experiment.arms)
        unequal_budgets(graph, experiment.arms, 0)
        missing_levers(graph, experiment.arms, 0)
    with clock("plan"):
        wanted = plan(graph, experiment.arms, experiment.seeds)
    claim(out, experiment)
    executor = Fabricator(_runs(wanted), graph.context.registry)
    with clock("schedule"):
        train_plan(graph, wanted, executor, lambda _: None)
    clock.seconds["schedule"] -= executor.seconds
    clock.seconds["write"] = executor.seconds
    with clock("score"):
        compare(_graph(experiment, out), experiment.arms, experiment.seeds, log=lambda _: None)
    graph = _graph(experiment, out)
    with clock("table"):
        comparison = compare(graph, experiment.arms, experiment.seeds, log=lambda _: None)
    with clock("pictures"):
        save_pictures(collect_pictures(graph, comparison), out)
    with clock("report"):
        write_report(comparison, out)
    with clock("load"):
        loaded = load_comparison(out)
    with clock("print"), (folder / "table.txt").open("w", encoding="utf-8") as stream:
        print_comparison(loaded, Console(file=stream, width=100))
    return out


def _graph(experiment: Experiment, out: Path) -> RunGraph:
    return RunGraph(ExperimentContext(experiment, default_registry(), out))


def _runs(wanted: Plan) -> dict[str, Run]:
    return {run.name: run for group in wanted.groups for run in group}


def _toml(value: dict[str, Any]) -> str:
    """Return an experiment as TOML: its tables as inline tables, which are JSON with ``=``."""
    return "".join(f"{name} = {_inline(inner)}\n" for name, inner in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def opening(page: Path) -> float | None:
    """Return the seconds that Chromium takes to load a page and run its script, without its start; ``None``: not here.

    Args:
        page: the file.
    """
    if _CHROMIUM is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        command = [_CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
        seconds = []
        for url in ("about:blank", "about:blank", page.as_uri()):
            start = time.monotonic()
            done = subprocess.run([*command, url], capture_output=True, check=True, timeout=300)
            seconds.append(time.monotonic() - start)
    if b"</html>" not in done.stdout:
        raise RuntimeError(f"{page}: expected Chromium to return the page, got {len(done.stdout)} bytes")
    return seconds[2] - seconds[1]


def rows(arms: int, seeds: int, rounds: int) -> list[Row]:
    """Measure, and return the rows of the table.

    Args:
        arms: number of arms.
        seeds: number of seeds.
        rounds: whole measurements, each in a folder of its own.
    """
    clocks, size, opened = [], 0, list[float]()
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            page = measure(arms, seeds, Path(folder), clock) / "report" / "index.html"
            clocks.append(clock.seconds)
            size = page.stat().st_size
            seconds = opening(page)
            opened += [] if seconds is None else [seconds]
    group, whole = f"{arms} arms x {seeds} seeds", (arms, seeds) == (200, 5)

    def row(name: str, parts: str, reach: float | None = None) -> Row:
        steps = parts.split()
        value = Spread.of([sum(seconds[step] for step in steps) for seconds in clocks])
        detail = ", ".join(f"{step} {Spread.of([seconds[step] for seconds in clocks]).median:.2f} s" for step in steps)
        return Row(group, name, value, "s", reach if whole else None, False, detail if len(steps) > 1 else "")

    found = [
        row("planning", "read check notes plan", 10),
        row("scheduling the runs, without training", "schedule"),
        row("scoring the runs", "score"),
        row("table and report from stored scores", "table pictures report", 60),
        row("`i2ikd report`", "load print report"),
        Row(group, "size of the page", Spread.of([size / 2**20]), "MiB"),
    ]
    return found + ([Row(group, "opening the page in Chromium", Spread.of(opened), "s")] if opened else [])
