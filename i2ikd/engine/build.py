"""Construction of networks from a registered model or an imported factory, and loading of their weights."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from i2ikd.call_form import called_as, options_of
from i2ikd.engine.checkpoint import load, load_state, read_tensors
from i2ikd.engine.store import differences
from i2ikd.engine.weight_files import (
    BUNDLED,
    SAFETENSORS,
    read_safetensors,
    state_in,
    weights_file,
    without_prefix,
)
from i2ikd.errors import UserError
from i2ikd.files import read_json
from i2ikd.imported import IMPORT
from i2ikd.options import parameters
from i2ikd.registry import Registry
from i2ikd.seeds import seed_torch
from i2ikd.wrapping import unwrapped


def build_network(registry: Registry, model: str, options: dict[str, Any], seed: int, where: str) -> nn.Module:
    """Build a network with initial weights drawn from ``seed``.

    Args:
        registry: contains the model.
        model: a registered name, or ``import:package.module:factory``.
        options: keyword arguments of the factory, checked against its types; and ``call`` and ``output``, unless the
            factory has them: see ``called_as``.
        seed: of the initial weights.
        where: prefix of error messages, such as ``teacher`` or ``student``.

    Raises:
        UserError: an unknown model, a wrong option, or a factory that fails or does not return a module.
    """
    seed_torch(seed, "network")
    place = f"{where} (model {model!r})"
    own, form = options_of(registry.get("model", model, place).resolve(place), options, place)
    network = registry.create("model", model, own, where=place)
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{where}: expected the model {model!r} to return a torch.nn.Module, got {type(network).__name__}"
        )
    return called_as(network, form.get("call"), form.get("output"))


def load_weights(
    network: nn.Module, path: Path, built_from: tuple[Registry, str, Mapping[str, Any]] | None = None
) -> None:
    """Load trained weights into a network, in place.

    Args:
        network: of the architecture that the weights belong to.
        path: folder of a run or of a bundle, ``weights.pt`` of a run, or a file of another program (``read_state``),
            whose names may have a prefix such as ``module.``.
        built_from: registry, model and options of the network, compared with those that weights of a run state.

    Raises:
        UserError: a file that does not exist or cannot be read safely, or weights of another network.
    """
    file = weights_file(path)
    state = read_state(file)
    if built_from is not None:
        _refuse_another_network(file, *built_from)
    inner = unwrapped(network)
    load_state(inner, without_prefix(state, inner.state_dict().keys(), file), str(file))


def _refuse_another_network(file: Path, registry: Registry, model: str, options: Mapping[str, Any]) -> None:
    """Compare the model and the options that a run's weights state with those of a network, defaults included."""
    if file.name == BUNDLED and (file.parent / "config.json").is_file():
        content = {"digest": "", **read_json(file.parent / "config.json")}
    else:
        content = {} if file.suffix == SAFETENSORS else read_tensors(file)
    if not isinstance(content, dict) or not {"model", "options", "digest"} <= content.keys():
        return
    defaults = {
        name: parameter.default
        for name, parameter in parameters(registry.get("model", model).resolve()).items()
        if parameter.default is not inspect.Parameter.empty
    }

    def described(name: str, values: Any) -> dict[str, Any]:
        short = name if name.startswith(IMPORT) else name.rpartition(":")[2]
        return {"model": short, **json.loads(json.dumps({**defaults, **values}, default=str))}

    changed = differences(described(content["model"], content["options"]), described(model, options))
    if changed:
        raise UserError(
            f"{file} holds the weights of another network ({'; '.join(changed[:3])}); set the same model and options, "
            "or save its state dict alone"
        )


def read_state(file: Path) -> dict[str, Any]:
    """Read a state dict from a checkpoint of i2ikd or of another program; no code of the file is executed.

    Args:
        file: a checkpoint of i2ikd, a safetensors file, or a file of ``torch.save`` with a state dict, or with one in
            an entry such as ``state_dict`` (Lightning's checkpoints).

    Raises:
        UserError: a file that does not exist, cannot be read safely, or contains the checkpoint of an unfinished run.
    """
    if file.is_file() and file.suffix == SAFETENSORS:
        return read_safetensors(file)
    if file.is_file() and (found := state_in(read_tensors(file), file)) is not None:
        return found
    content = load(file)
    state = content.get("state")
    if not isinstance(state, dict):
        raise UserError(f"{file} is a checkpoint of a run that has not ended; the finished weights are in weights.pt")
    return state
