"""Initial weights of a stage: those of the stage before, a fresh initialisation, or an input network's."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from i2ikd.engine.context import TrainingContext
from i2ikd.engine.pruning import pruned_tensors
from i2ikd.engine.start import assign, mapped_tensors, shared_tensors
from i2ikd.errors import UserError
from i2ikd.pairing import registered_pairs
from i2ikd.recipe import Stage, Start
from i2ikd.seeds import seed_torch


def set_start_weights(
    stage: Stage,
    network: nn.Module,
    shared: TrainingContext,
    model: tuple[str, str],
    fresh: Callable[[], nn.Module] | None,
    seed: int,
) -> None:
    """Set the weights that a stage starts from.

    Args:
        stage: its ``start`` is used.
        network: to be trained, with its training transforms applied.
        shared: input networks.
        model: name of the network's model and its side.
        fresh: builds the network again, with its training transforms.
        seed: of the run.

    Raises:
        UserError: no such input, or layers that do not fit.
    """
    where = f"the stage {stage.name!r}"
    if stage.start == "previous":
        return
    if isinstance(stage.start, Start):
        _copy_from_input(stage.start, network, shared, model, where)
        return
    if fresh is None:
        raise UserError(f"{where} starts fresh: expected a function that builds the network again, got none")
    seed_torch(seed, "network")
    network.load_state_dict(fresh().state_dict())


def _copy_from_input(
    start: Start, network: nn.Module, shared: TrainingContext, model: tuple[str, str], where: str
) -> None:
    role = start.source
    if role not in shared.inputs:
        raise UserError(f"{where} starts from {role!r}, and this run has no such input network")
    source = shared.inputs[role]
    if start.network is not None:
        source = shared.left_network(role, start.network)
    if start.prune is not None:
        assign(network, pruned_tensors(source, network, shared.example(), start.prune, where))
        return
    pairs = start.map
    if pairs is None and start.network is None:
        pairs = registered_pairs(shared.registry, (shared.models.get(role, ""), model[0]), (source, network), "layers")
    if pairs is None:
        assign(network, shared_tensors(source, network, where))
    else:
        assign(network, mapped_tensors(source, network, pairs, where))
