"""Networks from their description: a registered model, or a factory that a person imports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.engine.checkpoint import load, load_state
from i2ikd.engine.seeds import seed_torch
from i2ikd.errors import UserError
from i2ikd.options import check
from i2ikd.registry import Registry, import_target

IMPORT = "import:"


def build_network(registry: Registry, model: str, options: dict[str, Any], seed: int, where: str) -> nn.Module:
    """Build a network with weights drawn from ``seed``.

    Args:
        host: the registry.
        model: a registered name, or ``import:package.module:factory`` (the folder where the command runs is on the
            path).
        options: keyword arguments of the factory, checked against its types.
        seed: of the initial weights.
        where: ``teacher`` or ``student``, for messages.

    Raises:
        UserError: unknown model, wrong option, a factory that fails or gives something else than a module.
    """
    seed_torch(seed, "network")
    if not model.startswith(IMPORT):
        network = registry.create("model", model, options, where=f"{where} (model {model!r})")
    else:
        network = _imported(model.removeprefix(IMPORT), options, where)
    if not isinstance(network, nn.Module):
        raise UserError(f"{where}: the model {model!r} gave a {type(network).__name__}, not a torch.nn.Module")
    return network


def _imported(target: str, options: dict[str, Any], where: str) -> Any:
    if ":" not in target:
        raise UserError(f"{where}: write the model as import:package.module:factory, not import:{target}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory = import_target(target)
    except Exception as error:
        raise UserError(f"{where}: cannot import {target!r}: {type(error).__name__}: {error}") from error
    checked = check(factory, options, f"{where} (model {IMPORT}{target})")
    try:
        return factory(**checked)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: the factory {target!r} failed: {type(error).__name__}: {error}") from error


def load_weights(network: nn.Module, path: Path) -> None:
    """Put trained weights into a network: a run's folder or its ``weights.pt``, or a plain state dict.

    Raises:
        UserError: no such file, not readable safely, or another network's weights.
    """
    file = path / "weights.pt" if path.is_dir() else path
    load_state(network, read_state(file), str(file))


def read_state(file: Path) -> dict[str, Any]:
    """Read the weights in a file of ours, or in a plain ``torch.save(network.state_dict())``."""
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
