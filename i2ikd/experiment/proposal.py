"""Proposal of an experiment for a folder of data and a number of hours: task, networks, epochs and seeds that fit."""

from __future__ import annotations

import math
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2ikd.config import Experiment, check_experiment
from i2ikd.errors import UserError
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext, create_task
from i2ikd.experiment.estimate import Estimate, estimate
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.plan import plan
from i2ikd.experiment.template_text import with_value
from i2ikd.inventory import Inventory
from i2ikd.options import parameters
from i2ikd.progress import in_words
from i2ikd.registry import Registry
from i2ikd.task import Task

_SHARE = 0.8
"""Share of the stated time that is planned; the rest is for what the measurement does not see."""
_WANTED_STEPS = 20_000
"""Steps of a stage beyond which small networks gain little."""
_LEAST_STEPS = 1_000
"""Steps of a stage below which distillation is not compared."""
_MOST_EPOCHS = 300
_WIDTHS = (1.0, 0.5, 0.25)
"""Factors of the networks' channels that are tried until the time suffices."""
_HOPELESS = 1.6
"""Expected cost over the budget above which an attempt is not measured."""
_LARGE = 160
"""Sides of images, in pixels, above which smaller ones are tried before narrower networks."""


@dataclass(frozen=True)
class Proposal:
    """An experiment that fits, as text.

    Attributes:
        task: name of the task.
        text: TOML with reasons as comments.
        seconds: estimated time.
    """

    task: str
    text: str
    seconds: float


def propose(folder: Path, hours: float, templates: Mapping[str, str], registry: Registry) -> Proposal:
    """Return an experiment for a folder of data that takes at most some hours on this machine.

    Args:
        folder: the data.
        hours: time for the whole comparison.
        templates: commented experiments by name of the task, in the order in which they are tried.
        registry: of all components.

    Raises:
        UserError: no task reads the data, or the time is too short for one epoch.
    """
    if not folder.exists():
        raise UserError(f"--data: there is no {folder}")
    if not (math.isfinite(hours) and hours > 0):
        raise UserError(f"--hours: expected a positive number, got {hours:g}")
    reasons = []
    for name, template in templates.items():
        try:
            text, inventory = _for_task(name, template, folder, registry)
        except UserError as error:
            reasons.append(f"{name}: {error}")
            continue
        lighter = None
        if (size := _reduced(inventory)) is not None:
            lighter = _for_task(name, template, folder, registry, size)
        return _fitted(name, (text, inventory), lighter, hours, registry)
    raise UserError(
        f"{folder}: expected data that a task reads; start from `i2ikd init --task NAME` and state its form", reasons
    )


def _for_task(
    name: str, template: str, folder: Path, registry: Registry, size: tuple[int, int] | None = None
) -> tuple[str, Inventory]:
    """Return the template with the settings of a task for the data, and what the data holds.

    Args:
        name: of the task.
        template: commented experiment of the task.
        folder: the data.
        registry: of all components.
        size: to which images are reduced.

    Raises:
        UserError: the task does not read the data.
    """
    target: Any = registry.get("task", name).resolve()
    settings = target.propose(folder, size) if isinstance(target, type) and issubclass(target, Task) else None
    if settings is None:
        raise UserError("it does not read such data")
    text = template
    for key, (value, reason) in settings.items():
        text = with_value(text, f"task.{key}", value, reason)
    text = with_value(text, "name", re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-.") or "experiment")
    experiment = _checked(text)
    inventory = create_task(experiment, registry).inventory()
    for split in inventory.splits:
        if split.slices == 0:
            raise UserError(f"the split {split.split!r} has no slices")
    sizes = {size for split in inventory.splits if split.split != "test" for size in split.sizes}
    if len(sizes) > 1:
        text = with_value(text, "training.batch", 1, f"slices have {len(sizes)} sizes")
    return text, inventory


def _checked(text: str) -> Experiment:
    return check_experiment(tomllib.loads(text), "the proposed experiment")


def _reduced(inventory: Inventory) -> tuple[int, int] | None:
    """Return the commonest size of the slices, halved until its sides are at most 160; ``None`` if they are."""
    sizes = [size for split in inventory.splits for size in split.sizes]
    numbers = [re.match(r"(\d+) x (\d+)$", size) for size in sizes]
    if not numbers or numbers[0] is None:
        return None
    height, width = int(numbers[0][1]), int(numbers[0][2])
    factor = 1
    while max(height, width) / factor > _LARGE:
        factor *= 2
    return None if factor == 1 else (height // factor, width // factor)


def _fitted(
    name: str,
    usual: tuple[str, Inventory],
    lighter: tuple[str, Inventory] | None,
    hours: float,
    registry: Registry,
) -> Proposal:
    """Return the experiment with the size of images, widths, epochs and seeds that fit."""
    budget = _SHARE * hours * 3600
    attempts = _attempts(usual, lighter)
    expected = 1.0  # cost of the shortest useful comparison over the budget, for attempts of relative cost 1
    for index, ((text, inventory), width, relative) in enumerate(attempts):
        if relative * expected > _HOPELESS and 0 < index < len(attempts) - 1:
            continue
        text = with_value(text, "training.schedule", "cosine", "ends with the last epoch, whatever their number")
        text = _narrowed(text, width, registry, f"{width:g} of the usual width, for {hours:g} h")
        found, steps, batch = _measured(text, registry)
        fit = _epochs_and_seeds(found, _checked(text), budget, steps)
        if fit is not None and (fit[0] * steps >= _LEAST_STEPS or index == len(attempts) - 1):
            return _written(name, text, inventory, hours, found, fit, steps, batch)
        expected = _seconds(found, _checked(text), math.ceil(_LEAST_STEPS / steps), 1) / budget / relative
    needed = in_words(_seconds(found, _checked(text), 1, 1) / _SHARE)
    raise UserError(f"--hours {hours:g}: expected at least {needed} for one epoch of the smallest networks; raise it")


def _attempts(
    usual: tuple[str, Inventory], lighter: tuple[str, Inventory] | None
) -> list[tuple[tuple[str, Inventory], float, float]]:
    """Return the experiment, width of the networks and rough relative cost of every attempt, in order."""
    first, *others = _WIDTHS
    area = 1.0 if lighter is None else 0.3
    smaller = [(lighter, first, area)] if lighter is not None else []
    return [(usual, first, 1.0), *smaller, *((lighter or usual, width, area * width**1.3) for width in others)]


def _narrowed(text: str, width: float, registry: Registry, reason: str) -> str:
    """Return the experiment with networks of fewer channels."""
    if width == 1.0:
        return text
    document = tomllib.loads(text)
    for side in ("teacher", "student"):
        known = parameters(registry.get("model", document[side]["model"]).resolve())
        if "channels" in known:
            usual = document[side].get("channels", known["channels"].default)
            text = with_value(text, f"{side}.channels", max(round(usual * width), 4), reason)
    return text


def _measured(text: str, registry: Registry) -> tuple[Estimate, int, int]:
    """Return the estimate of the experiment with one seed, its steps of an epoch and its batch size."""
    experiment = _checked(text)
    with tempfile.TemporaryDirectory(prefix="i2ikd-") as scratch:
        graph = RunGraph(ExperimentContext(experiment, registry, Path(scratch)))
        check(graph, experiment.arms)
        seeds = [experiment.seeds[0]]
        found = estimate(graph, plan(graph, experiment.arms, seeds), experiment.arms, seeds)
        count, batch = len(graph.context.dataset("train")), experiment.training.batch
    return found, max(count // min(batch, count), 1), batch


def _seconds(found: Estimate, experiment: Experiment, epochs: int, seeds: int) -> float:
    """Return the time with other epochs and seeds than those of the measurement."""
    share = epochs / experiment.training.epochs
    one = sum(run.setup_seconds + (run.seconds - run.setup_seconds) * share for run in found.runs)
    return seeds * (one + found.evaluation_seconds)


def _epochs_and_seeds(found: Estimate, experiment: Experiment, budget: float, steps: int) -> tuple[int, int] | None:
    """Return the epochs of a stage and the seeds that fit: three seeds if stages are long enough, else fewer.

    Returns:
        ``None`` if not even one epoch fits.
    """
    wanted = min(max(math.ceil(_WANTED_STEPS / steps), 10), _MOST_EPOCHS)
    least = math.ceil(_LEAST_STEPS / steps)
    for seeds in (3, 2, 1):
        fixed, whole = _seconds(found, experiment, 0, seeds), _seconds(found, experiment, 1, seeds)
        epochs = math.floor((budget - fixed) / (whole - fixed)) if whole > fixed else wanted
        if epochs >= (least if seeds > 1 else 1):
            return min(epochs, max(wanted, least)), seeds
    return None


def _written(
    name: str,
    text: str,
    inventory: Inventory,
    hours: float,
    found: Estimate,
    fit: tuple[int, int],
    steps: int,
    batch: int,
) -> Proposal:
    """Return the experiment as text, with reasons."""
    experiment, (epochs, seeds) = _checked(text), fit
    seconds = _seconds(found, experiment, epochs, seeds)
    batches = f"{steps} steps of {batch} slices each"
    enough = "as many as fit" if epochs * steps < _WANTED_STEPS else f"{_WANTED_STEPS:,} steps are enough"
    text = with_value(text, "training.epochs", epochs, f"{batches}: {enough} in {hours:g} h")
    of_seeds = {1: "one, as the time is short: no interval over trainings", 2: "as many as fit"}
    text = with_value(text, "seeds", list(range(seeds)), of_seeds.get(seeds, "intervals are over subjects and seeds"))
    speeds = [
        f"{run.name.partition('/seed')[0]} {(run.seconds - run.setup_seconds) / max(run.steps, 1):.3g} s a step"
        for run in found.runs
    ]
    warning = []
    if epochs * steps < _LEAST_STEPS:
        warning = [f"# Warning: {epochs * steps} steps a stage are few; a comparison needs {_LEAST_STEPS:,} or more."]
    head = [
        f"# An experiment for {hours:g} h on this machine, written by `i2ikd init`; `i2ikd check` measures again.",
        *(f"# {line}" for line in inventory.lines()),
        f"# Measured on {found.device}:",
        *(f"#   {speed}" for speed in speeds),
        f"# Time: about {in_words(seconds)}, for {seeds * len(found.runs)} runs and their evaluation.",
        *warning,
        "",
    ]
    body = text[next(match.start() for match in re.finditer(r"^name\s*=", text, re.MULTILINE)) :]
    return Proposal(name, "\n".join([*head, body]), seconds)
