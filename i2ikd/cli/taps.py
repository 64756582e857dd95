"""Taps of a model with shapes, and pairs that are suggested for two models; ``i2ikd show model NAME --taps``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from i2ikd.cli.result import print_json
from i2ikd.config_file import apply_override
from i2ikd.errors import UserError
from i2ikd.registry import default_registry

if TYPE_CHECKING:
    from torch import nn

    from i2ikd.sample import Batch

Stated = tuple[str, Sequence[str]]
"""Name of a model and its options, as ``KEY=VALUE``."""


def show_taps(model: Stated, student: Stated | None, size: str | None, experiment: Path | None, as_json: bool) -> None:
    """Print path, type and shape of every module of a model, and pairs for it and a student.

    Args:
        model: the model.
        student: of the pairs; ``None``: the model itself, whose smaller versions have the same paths.
        size: ``C,H,W`` of the input; ``None``: 1,64,64.
        experiment: whose task provides the input.
        as_json: whether to print JSON.

    Raises:
        UserError: an unknown model or option, or an input that the student cannot take.
    """
    from i2ikd.pairing import registered_pairs
    from i2ikd.seeds import kept_random_state
    from i2ikd.tap_suggestions import suggested_pairs, tap_shapes

    with kept_random_state():
        network = _built(model, "model")
        other = network if student is None else _built(student, "student")
        batch = _batch(size, experiment)
        shapes, problem = {}, ""
        try:
            shapes = tap_shapes(network, batch)
        except UserError as error:
            problem = f"without shapes: {error}; state --input C,H,W or --experiment EXPERIMENT.toml"
        names = model[0], model[0] if student is None else student[0]
        registered = registered_pairs(default_registry(), names, (network, other), "features")
        pairs = registered or ([] if problem else suggested_pairs(network, other, batch))
    rows = [
        {"path": path, "type": type(module).__name__, "shape": list(shapes[path]) if path in shapes else None}
        for path, module in network.named_modules()
        if path
    ]
    origin = "registered for these models" if registered else "suggested: equal size, same relative depth"
    if as_json:
        print_json({"taps": rows, "pairs": [list(pair) for pair in pairs], "origin": origin, "problem": problem})
        return
    width = max((len(str(row["path"])) for row in rows), default=0)
    for row in rows:
        shape = "" if row["shape"] is None else str(row["shape"])
        click.echo(f"{row['path']:<{width}}  {row['type']!s:<16}  {shape}".rstrip())
    if pairs:
        stated = ", ".join(f'["{left}", "{right}"]' for left, right in pairs)
        click.echo(f"pairs = [{stated}]  # {origin}")
    if problem:
        click.echo(f"i2ikd: {problem}", err=True)


def _built(stated: Stated, where: str) -> nn.Module:
    """Build a model with options as texts."""
    from i2ikd.engine.build import build_network

    name, overrides = stated
    options: dict[str, Any] = {}
    for override in overrides:
        apply_override(options, override)
    return build_network(default_registry(), name, options, 0, where)


def _batch(size: str | None, experiment: Path | None) -> Batch:
    """Return an input: zeros of a stated size, or the first training sample of an experiment."""
    import torch

    from i2ikd.cli.options import load_experiment
    from i2ikd.engine.batches import ordered
    from i2ikd.experiment.context import create_task
    from i2ikd.sample import Batch

    if experiment is not None:
        task = create_task(load_experiment(experiment, ()), default_registry())
        batch = next(iter(ordered(task.dataset("train"), 1)))
        return Batch(batch.input, torch.empty(1, 0), batch.conditions, labelled=torch.zeros(1, dtype=torch.bool))
    try:
        channels, height, width = (int(part) for part in (size or "1,64,64").split(","))
        image = torch.zeros(1, channels, height, width)
    except (ValueError, RuntimeError):
        raise UserError(f"--input: expected C,H,W such as 3,128,128, got {size!r}") from None
    return Batch(image, torch.empty(1, 0), labelled=torch.zeros(1, dtype=torch.bool))
