"""Copies of weights from one network to another: by equal name and shape, or by a layer map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from i2ikd.errors import UserError
from i2ikd.recipe import TapPairs
from i2ikd.taps import expand, resolve_pairs


def plain_tensors(network: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Return owner and attribute of every saved tensor, by the name it has in a plain build of the network.

    A tensor that ``torch.nn.utils.parametrize`` computes from others counts as one tensor.
    """
    found: dict[str, tuple[nn.Module, str]] = {}
    for path, module in network.named_modules():
        if "parametrizations" in path.split("."):
            continue
        own = [name for name, _ in module.named_parameters(recurse=False)]
        own += [n for n, _ in module.named_buffers(recurse=False) if n not in module._non_persistent_buffers_set]
        if parametrize.is_parametrized(module):
            own += list(module.parametrizations)
        for name in own:
            found[f"{path}.{name}" if path else name] = (module, name)
    return found


@torch.no_grad()
def assign(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set tensors of a network by their plain names; a parametrised one gets values that compute the tensor.

    Memory formats stay as they are: a checkpoint does not hold them, and sums depend on them in the last bit.
    """
    places = plain_tensors(network)
    for name, tensor in tensors.items():
        owner, attribute = places[name]
        if parametrize.is_parametrized(owner, attribute):
            _assign_parametrised(owner, attribute, tensor)
        else:
            getattr(owner, attribute).copy_(tensor)


def _assign_parametrised(owner: nn.Module, attribute: str, tensor: Tensor) -> None:
    parts = owner.parametrizations
    assert isinstance(parts, nn.ModuleDict)
    before = {name: part.data for name, part in parts[attribute].named_parameters()}
    setattr(owner, attribute, tensor)  # puts tensors of any memory format in the place of the parts
    for name, part in parts[attribute].named_parameters():
        part.data = before[name].copy_(part.data)


def shared_tensors(source: nn.Module, network: nn.Module, where: str) -> dict[str, Tensor]:
    """Return the source's tensors of the layers that both networks have, under equal names and with equal shapes.

    A layer is a module with tensors of its own; it is taken whole or not at all.

    Raises:
        UserError: no layer with a kernel or matrix is shared; scales and biases alone are no start.
    """
    places, tensors = plain_tensors(network), _state(source)
    unequal = {
        name.rpartition(".")[0]
        for name in places.keys() | tensors.keys()
        if name not in places or name not in tensors or getattr(*places[name]).shape != tensors[name].shape
    }
    same = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] not in unequal}
    if all(tensor.ndim < 2 for tensor in same.values()):
        raise UserError(
            f"{where}: the two networks share no layer of equal name and shape; state pairs of modules of equal shape "
            "(start.map of a stage, layers of a recipe), or no pairs, [], to keep the student's own weights"
        )
    return same


def mapped_tensors(source: nn.Module, network: nn.Module, pairs: TapPairs, where: str) -> dict[str, Tensor]:
    """Return the source's tensors under the names they get by a layer map.

    Args:
        source: network that the weights come from.
        network: network that receives them.
        pairs: (source's module path, network's module path), with ``*`` expanded in order.
        where: prefix of error messages.

    Raises:
        UserError: a path that matches nothing, or modules whose tensors differ in name or shape.
    """
    tensors, places = _state(source), plain_tensors(network)
    found: dict[str, Tensor] = {}
    for left, right in resolve_pairs(source, network, pairs):
        own_names = {name.removeprefix(right + "."): name for name in places if name.startswith(right + ".")}
        source_names = {name.removeprefix(left + "."): name for name in tensors if name.startswith(left + ".")}
        if own_names.keys() != source_names.keys() or not own_names:
            raise UserError(
                f"{where}: expected {left!r} and {right!r} to have the same tensors, got "
                f"{', '.join(sorted(source_names)) or 'none'} and {', '.join(sorted(own_names)) or 'none'}"
            )
        for key, name in own_names.items():
            tensor, shape = tensors[source_names[key]], getattr(*places[name]).shape
            if tensor.shape != shape:
                raise UserError(
                    f"{where}: expected {source_names[key]!r} and {name!r} to have one shape, "
                    f"got {list(tensor.shape)} and {list(shape)}"
                )
            found[name] = tensor
    return found


def frozen_modules(network: nn.Module, patterns: list[str]) -> list[nn.Module]:
    """Return the modules that patterns match.

    Raises:
        UserError: a pattern matches no module.
    """
    paths = [path for pattern in patterns for path in expand(network, pattern, "trained network")]
    return [network.get_submodule(path) for path in dict.fromkeys(paths)]


def frozen_parameters(network: nn.Module, patterns: list[str]) -> list[nn.Parameter]:
    """Return the parameters of the modules that patterns match.

    Raises:
        UserError: a pattern matches no module.
    """
    return list(dict.fromkeys(p for module in frozen_modules(network, patterns) for p in module.parameters()))


def trained_parameters(
    network: nn.Module, own: Iterable[nn.Parameter], frozen: Iterable[nn.Parameter], where: str
) -> list[nn.Parameter]:
    """Return the parameters that a stage trains: the network's and the objective's own, without frozen ones.

    Raises:
        UserError: there are none.
    """
    excluded = {id(parameter) for parameter in frozen}
    found = [p for p in (*network.parameters(), *own) if p.requires_grad and id(p) not in excluded]
    if not found:
        raise UserError(f"{where}: expected parameters to train, got none; freeze fewer modules")
    return found


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: getattr(owner, attribute).detach() for name, (owner, attribute) in plain_tensors(network).items()}
