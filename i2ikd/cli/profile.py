"""``i2ikd profile``: parameters, MACs, latency and peak memory of a network for one slice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from i2ikd.cli import options
from i2ikd.cli.result import print_json
from i2ikd.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from i2ikd.config import Experiment
    from i2ikd.evaluation.profile import Profile
    from i2ikd.experiment.context import ExperimentContext


@click.command("profile")
@click.argument("target", type=click.Path(path_type=Path), metavar="RUN-or-EXPERIMENT.toml")
@click.option("--repeats", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of timed runs.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@options.trust
@options.overrides
@options.as_json
def command(target: Path, repeats: int, device: str, trust: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Measure parameters, multiply-adds (MACs), latency and peak memory for one slice.

    RUN is the folder of a trained network; of an experiment, teacher and student are timed in interleaved rounds.
    """
    from i2ikd.engine.device import keep_large_blocks, resolve_device
    from i2ikd.experiment.context import ExperimentContext
    from i2ikd.experiment.finished import registry_for_stored
    from i2ikd.registry import default_registry

    keep_large_blocks()
    resolved = resolve_device(device)
    if target.is_dir():
        context = ExperimentContext(_owner(target, overrides), registry_for_stored(overrides, trust), target)
        networks = {target.name: _trained(context, target)}
    else:
        context = ExperimentContext(options.load_experiment(target, overrides), default_registry(), Path())
        networks = _teacher_and_student(context)
    profiles = _measure(networks, context, repeats, str(resolved))
    ratios = _ratios(*profiles.values()) if len(profiles) == 2 else None
    if as_json:
        rows = [{"network": name, **profile.as_json()} for name, profile in profiles.items()]
        document: dict[str, Any] = {"networks": rows, "teacher_over_student": ratios}
        print_json(document)
    else:
        _show(profiles, ratios, repeats)


def _owner(run: Path, overrides: tuple[str, ...]) -> Experiment:
    """Return the experiment of the output folder that contains the run.

    Raises:
        UserError: the run is not in such a folder.
    """
    from i2ikd.experiment.finished import owner_of

    owner = owner_of(run, overrides)
    if owner is None:
        raise UserError(
            f"{run} is not inside a comparison's folder, so its task and slice size are unknown; "
            "pass the experiment instead"
        )
    return owner


def _trained(context: ExperimentContext, run: Path) -> nn.Module:
    """Load the network of a finished run."""
    from i2ikd.experiment.finished import finished_network

    return finished_network(context.registry, run, context.experiment)


def _teacher_and_student(context: ExperimentContext) -> dict[str, nn.Module]:
    """Build both networks with initial weights, on which costs do not depend."""
    from i2ikd.engine.build import build_network

    sections = {"teacher": context.experiment.teacher, "student": context.experiment.student}
    return {
        name: build_network(context.registry, section.model, section.options, 0, name)
        for name, section in sections.items()
    }


def _measure(
    networks: dict[str, nn.Module], context: ExperimentContext, repeats: int, device: str
) -> dict[str, Profile]:
    """Count parameters, MACs and memory of each network, then time all in interleaved rounds."""
    from i2ikd.evaluation.latency import latency_of_many
    from i2ikd.evaluation.profile import profile

    example = context.example()
    counted = {name: profile(net, example, repeats=1, warm_up=0, device=device) for name, net in networks.items()}
    times = latency_of_many(networks, example, repeats=repeats, device=device)
    return {
        name: dataclasses.replace(counts, latency_ms=times[name].median_ms, latency_spread_ms=times[name].spread_ms)
        for name, counts in counted.items()
    }


def _ratios(teacher: Profile, student: Profile) -> dict[str, float]:
    """Return teacher over student for every cost that is not 0."""
    parts = ("parameters", "macs", "latency_ms", "peak_memory_mib")
    pairs = {part: (getattr(teacher, part), getattr(student, part)) for part in parts}
    return {part: large / small for part, (large, small) in pairs.items() if small > 0}


def _show(profiles: dict[str, Profile], ratios: dict[str, float] | None, repeats: int) -> None:
    """Print the table, and the conditions of the measurement."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from i2ikd.report import numbers

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("one slice")
    for heading in [*profiles, *(["teacher / student"] if ratios else [])]:
        table.add_column(heading, justify="right")
    lines: list[tuple[str, str, Callable[[Profile], str]]] = [
        ("parameters", "parameters", lambda one: f"{one.parameters:,}"),
        ("MACs", "macs", lambda one: numbers.count(one.macs)),
        ("of which Fourier transforms", "", lambda one: numbers.count(one.fourier_macs)),
        ("latency, median (ms)", "latency_ms", lambda one: numbers.milliseconds(one.latency_ms)),
        ("latency, interquartile range (ms)", "", lambda one: numbers.milliseconds(one.latency_spread_ms)),
        ("peak memory (MiB)", "peak_memory_mib", lambda one: f"{one.peak_memory_mib:.1f}"),
    ]
    for label, part, text in lines:
        ratio = f"{ratios[part]:.2f}×" if ratios and part in ratios else ""
        table.add_row(label, *(text(one) for one in profiles.values()), *([ratio] if ratios else []))
    Console().print(table)
    first = next(iter(profiles.values()))
    click.echo(f"on {first.device}, {first.threads} threads; latency: {repeats} interleaved rounds")
