"""Rows of the table: inference, evaluation, reading, arms in lockstep, start of the command line."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Plan, Spread, ratio, seconds, share
from benchmarks.reading import write_files
from benchmarks.table import Row, number
from benchmarks.worker import ROOT, Reply

_MAIN = "from i2ikd.cli.main import main; main()"
_EPOCHS = 30
_EXPERIMENT = ROOT / "examples" / "experiments" / "phantom-4x-quick.toml"


def inference(plan: Plan) -> list[Row]:
    """Measure the inference of one slice, student against teacher."""
    base = plan.base
    sides = {side: ("inference", replace(base, side=side)) for side in ("student", "teacher")}
    replies = plan.measure({**sides, "limit": ("convolution-forward", base)}, units=5 * plan.units)
    group = f"inference, {base.device}"
    took = ", ".join(f"{side} {number(1e3 * seconds(replies[side]).median)} ms" for side in sides)
    rows = [Row(group, "student against teacher", ratio(replies["teacher"], replies["student"]), "x", 2, True, took)]
    for side in sides:
        part = share(replies[side], replies["limit"])
        rows.append(Row(group, f"{side}'s share of the convolution's speed", part, "%", 80))
    return rows


def evaluation(plan: Plan) -> list[Row]:
    """Measure the evaluation of 100 slices, and its share of a training run."""
    slices = 20 if plan.quick else 100
    evaluated = replace(plan.base, samples=slices)
    replies = plan.measure({"evaluation": ("evaluation", evaluated), "step": ("engine", plan.base)}, units=1)
    whole = slices == 100 and plan.base.size == 256
    name = f"{slices} slices at {plan.base.size} x {plan.base.size}"
    took = seconds(replies["evaluation"])
    detail = f"{number(1e3 * took.median / slices)} ms a slice"
    training = seconds(replies["step"]).median / plan.base.batch
    share = Spread.of([_share_of_a_run(one.seconds / slices, training) for one in replies["evaluation"]])
    return [
        Row("evaluation", name, took, "s", 20 if whole else None, False, detail),
        Row("evaluation", f"of a run of {_EPOCHS} epochs, test a quarter of training", share, "%", 10, False),
    ]


def _share_of_a_run(evaluating: float, training: float) -> float:
    """Return the percentage, from seconds per slice; validation during training is not included."""
    return 100 * evaluating / 4 / (_EPOCHS * training + evaluating / 4)


def reading(plan: Plan) -> list[Row]:
    """Measure the first epoch from HDF5, against raw bytes and against a file reopened for every slice."""
    rows = []
    for layout in ("chunks", "contiguous"):
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), 2 if plan.quick else 8, plan.base.size, layout)
            setting = replace(plan.base, folder=folder)
            variants = ("reading", "reading-raw", "reading-reopened")
            replies = plan.measure({variant: (variant, setting) for variant in variants}, units=1)
        detail = ", ".join(f"{variant} {_throughput(replies[variant])}" for variant in variants)
        engine, raw, reopened = (replies[variant] for variant in variants)
        rows += [
            Row("reading", f"{layout}: first epoch, against reopened files", ratio(reopened, engine), detail=detail),
            Row("reading", f"{layout}: first epoch, of the speed of bare bytes", _percent(raw, engine), "%"),
        ]
    return rows


def _throughput(replies: list[Reply]) -> str:
    """Format the median rate in 10^6 bytes per second."""
    return f"{number(replies[0].notes['bytes'] / 1e6 / seconds(replies).median)} MB/s"


def _percent(raw: list[Reply], engine: list[Reply]) -> Spread:
    """Return the speed of the engine in percent of the raw speed, by round."""
    return Spread.of([100 * value for value in ratio(raw, engine).rounds])


def arms(plan: Plan) -> list[Row]:
    """Measure eight students, in lockstep or in separate runs, with a cached or a live teacher."""
    count = 3 if plan.quick else 8
    base = replace(plan.base, size=max(16, plan.base.size // 2), arms=count, epochs=2)
    measured = {
        f"{order}, {knowledge}": ("arms", replace(base, lockstep=order == "lockstep", cache=knowledge == "cached"))
        for order in ("lockstep", "separate")
        for knowledge in ("cached", "live")
    }
    replies = plan.measure(measured, units=1)
    pairs = [
        (f"{count} arms in lockstep against separate runs, teacher live", "separate, live", "lockstep, live"),
        (f"{count} arms in lockstep against separate runs, teacher cached", "separate, cached", "lockstep, cached"),
        ("teacher cached against live, separate runs of 2 epochs", "separate, live", "separate, cached"),
        ("lockstep and cached against neither", "separate, live", "lockstep, cached"),
    ]
    detail = ", ".join(f"{name} {number(seconds(replies[name]).median)} s" for name in measured)
    return [
        Row("arms", name, ratio(replies[slow], replies[fast]), detail=detail if place == 0 else "")
        for place, (name, slow, fast) in enumerate(pairs)
    ]


def start(plan: Plan) -> list[Row]:
    """Measure ``i2ikd --help``, and ``compare`` up to its first optimiser step."""
    with tempfile.TemporaryDirectory() as folder:
        helped = [_clock([sys.executable, "-c", _MAIN, "--help"]) for _ in range(plan.rounds + 1)]
        bare = [_clock([sys.executable, "-c", "pass"]) for _ in range(plan.rounds + 1)]
        compare = ["compare", str(_EXPERIMENT), "--out"]
        first = [
            _clock([sys.executable, "-m", "benchmarks.first_step", *compare, str(Path(folder) / str(turn))])
            for turn in range(plan.rounds)
        ]
    detail = f"of it {number(Spread.of(bare[1:]).median)} s for the interpreter"
    return [
        Row("start", "i2ikd --help", Spread.of(helped[1:]), "s", 0.3, False, detail),
        Row("start", "i2ikd compare to the first step", Spread.of(first), "s", 8, False, _EXPERIMENT.name),
    ]


def _clock(command: Sequence[str]) -> float:
    """Return the seconds that a command takes."""
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
