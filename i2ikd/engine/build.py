"""Construction of networks from a registered model or an imported factory, and loading of their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.engine.checkpoint import load, load_state
from i2ikd.errors import UserError
from i2ikd.registry import Registry
from i2ikd.seeds import seed_torch


def build_network(registry: Registry, model: str, options: dict[str, Any], seed: int, where: str) -> nn.Module:
    """Build a network with initial weights drawn from ``seed``.

    Args:
        registry: contains the model.
        model: a registered name, or ``import:package.module:factory``.
        options: keyword arguments of the factory, checked against its types.
        seed: of the initial weights.
        where: prefix of error messages, such as ``teacher`` or ``student``.

    Raises:
        UserError: an unknown model, a wrong option, or a factory that fails or does not return a module.
    """
    seed_torch(seed, "network")
    network = registry.create("model", model, options, where=f"{where} (model {model!r})")
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{where}: expected the model {model!r} to return a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Load trained weights into a network, in place.

    Args:
        network: of the architecture that the weights belong to.
        path: folder of a run, its ``weights.pt``, or a file with a plain state dict.

    Raises:
        UserError: a file that does not exist or cannot be read safely, or weights of another network.
    """
    file = path / "weights.pt" if path.is_dir() else path
    load_state(network, read_state(file), str(file))


def read_state(file: Path) -> dict[str, Any]:
    """Read a state dict from a checkpoint of i2ikd or from ``torch.save(network.state_dict())``.

    Args:
        file: the checkpoint.

    Raises:
        UserError: a file that does not exist, cannot be read safely, or contains the checkpoint of an unfinished run.
    """
    import torch

    try:
        content = load(file)
    except UserError:
        content = {}
        if file.is_file():
            try:
                content = torch.load(file, map_location="cpu", weights_only=True)
            except Exception:
                content = {}
        plain = isinstance(content, dict) and len(content) > 0
        if not plain or not all(isinstance(value, torch.Tensor) for value in content.values()):
            raise
        return content
    state = content.get("state")
    if not isinstance(state, dict):
        raise UserError(f"{file} is a checkpoint of a run that has not ended; the finished weights are in weights.pt")
    return state
