"""Networks of runs: loaded from saved weights, combined where several fill one role, and transformed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.config import digest
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network, load_weights
from i2ikd.engine.checkpoint import load_state
from i2ikd.engine.run import Run, create_transforms, load_network, save_weights, write_run_record
from i2ikd.errors import UserError
from i2ikd.experiment.context import ExperimentContext
from i2ikd.registry import Registry
from i2ikd.sample import Batch

_CALIBRATION_BATCHES = 8


def load_input(registry: Registry, runs: Sequence[Run], combine: Mapping[str, Any] | None) -> nn.Module:
    """Return the network of finished runs that fill one role, in eval mode.

    Args:
        registry: of models and combinations.
        runs: one, or several to be combined.
        combine: name and options of the combination of several.
    """
    networks = [load_network(registry, run.folder, run.specification) for run in runs]
    return networks[0] if len(networks) == 1 else combined(registry, networks, combine or {"name": "mean"})


def combined(registry: Registry, networks: Sequence[nn.Module], reference: Mapping[str, Any]) -> nn.Module:
    """Return several networks as one.

    Raises:
        UserError: an unknown combination, wrong options, or a component that returns no module.
    """
    name, options = reference["name"], {key: value for key, value in reference.items() if key != "name"}
    made = registry.create("combination", name, {"networks": list(networks), **options}, f"combination {name!r}")
    if not isinstance(made, nn.Module):
        raise UserError(f"combination {name!r}: expected a torch.nn.Module, got {type(made).__name__}")
    return made.eval()


def blank_input(context: ExperimentContext, runs: Sequence[Run], combine: Mapping[str, Any] | None) -> nn.Module:
    """Return the network of runs that fill one role, with initial instead of trained weights, for checks."""
    networks = []
    for run in runs:
        specification = run.specification
        network = build_network(context.registry, specification.model, specification.options, 0, run.name)
        if specification.weights is not None and context.given_weights is not None:
            own = context.registry, specification.model, specification.options
            load_weights(network, context.given_weights, own)
        networks.append(network)
    registry = context.registry
    return networks[0] if len(networks) == 1 else combined(registry, networks, combine or {"name": "mean"})


def transformed(
    context: ExperimentContext,
    network: nn.Module,
    references: Sequence[Mapping[str, Any]],
    folder: Path | None = None,
) -> nn.Module:
    """Return a finished network after an arm's transforms, calibrated on the training split without augmentation.

    Args:
        context: of the experiment that trained the network.
        network: the finished network.
        references: names and options of the transforms.
        folder: of results that transforms keep (``derived_folder``); ``None``: they keep none.
    """
    for index, transform in enumerate(create_transforms(context.registry, references, "transforms")):
        batches = _calibration(context)
        if folder is None:
            network = transform.apply(network, batches, context.task)
        else:
            own = folder if index == len(references) - 1 else folder / f"transform-{index}"
            network = transform.apply_stored(network, batches, context.task, own)
    return network.eval()


def derived_folder(
    root: Path, runs: Sequence[str], transforms: Sequence[Mapping[str, Any]], combine: Mapping[str, Any] | None
) -> Path:
    """Return the folder of what is derived from finished runs: scores, and files of transforms.

    Args:
        root: output folder.
        runs: digests of their specifications.
        transforms: names and options.
        combine: name and options of the combination of several runs.
    """
    address = digest([list(runs), list(transforms), combine])[:16]
    return root / "store" / f"derived-{address}"


def _calibration(context: ExperimentContext) -> Iterator[Batch]:
    """Yield the calibration batches; the data is opened for transforms that use it only."""
    yield from islice(ordered(context.dataset("train"), context.training.batch), _CALIBRATION_BATCHES)


def left_network(context: ExperimentContext, runs: Sequence[Run], name: str, network: nn.Module) -> nn.Module:
    """Load into ``network`` the weights that a run left behind under ``name``.

    Raises:
        UserError: the run left none of this name, or they are another network's.
    """
    file = runs[0].folder.left(name)
    if not file.is_file():
        raise UserError(f"{runs[0].name} left no network {name!r} behind: there is no {file}")
    load_state(network, runs[0].folder.load_left(name), str(file))
    return network.eval()


def take_given_weights(context: ExperimentContext, run: Run) -> None:
    """Copy given teacher weights into the store.

    Raises:
        UserError: they are another network's.
    """
    path = context.given_weights
    assert path is not None
    specification = run.specification
    network = build_network(context.registry, specification.model, specification.options, specification.seed, "teacher")
    load_weights(network, path, (context.registry, specification.model, specification.options))
    context.group.barrier()  # every process has found that they are missing
    if context.group.is_main:
        write_run_record(run)
        save_weights(specification, run.folder, network)
    context.group.barrier()
