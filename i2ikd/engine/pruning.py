"""Structured pruning of an input network to the widths of the trained one, as its start weights."""

from __future__ import annotations

import copy
import importlib
import warnings
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn

from i2ikd.engine.start import shared_tensors
from i2ikd.errors import UserError
from i2ikd.network import apply, eval_mode
from i2ikd.sample import Batch

Norm = Literal["l1", "l2"]
_LAYERS = (nn.Conv2d, nn.Linear)


def pruned_tensors(source: nn.Module, network: nn.Module, example: Batch, norm: Norm, where: str) -> dict[str, Tensor]:
    """Return tensors of a network after its least important channels were removed, by their names in another network.

    Both networks have the same layers; those of ``network`` are narrower. Channels that depend on each other, such as
    those of a residual connection, are removed together (torch-pruning). Their importance is the mean norm of all
    weights that belong to them (Li et al., arXiv:1608.08710; Fang et al., arXiv:2301.12900).

    Args:
        source: wide network; left unchanged.
        network: narrow network; left unchanged.
        example: a batch that ``source`` is run on once.
        norm: norm of the weights that is the importance of a channel.
        where: prefix of error messages.

    Raises:
        UserError: torch-pruning is missing, or the networks differ in more than their widths.
    """
    library = _library(where)
    pruned = copy.deepcopy(source)
    for parameter in pruned.parameters():
        parameter.requires_grad_(True)  # dependencies are found in the graph of the gradient
    narrow = {path: module for path, module in network.named_modules() if isinstance(module, _LAYERS)}
    wide = {path: module for path, module in pruned.named_modules() if isinstance(module, _LAYERS)}
    if narrow.keys() != wide.keys():
        different = sorted(narrow.keys() ^ wide.keys())
        raise UserError(
            f"{where}: expected networks with the same layers to prune one to the widths of the other, got "
            f"{', '.join(different[:3])} in one alone; choose an equal depth, or start without prune"
        )
    with eval_mode(pruned), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = library.DependencyGraph().build_dependency(
            pruned, example_inputs=example, forward_fn=lambda module, batch: apply(module, batch)
        )
        importance = library.importance.GroupMagnitudeImportance(p=1 if norm == "l1" else 2)
        for path, module in wide.items():
            removed = _width(module) - _width(narrow[path])
            if removed > 0:
                _remove(library, graph, importance, module, removed, where, path)
    found = shared_tensors(pruned, network, where)
    missing = sorted(name for name in network.state_dict() if name not in found and "parametrizations" not in name)
    if missing:
        raise UserError(
            f"{where}: expected the pruned network to fit, got another shape of {', '.join(missing[:3])}; choose "
            "widths below those of the input network"
        )
    return found


def _remove(
    library: ModuleType, graph: object, importance: object, module: nn.Module, removed: int, where: str, path: str
) -> None:
    """Remove the least important outputs of a layer, with all that depends on them."""
    function = library.prune_conv_out_channels if isinstance(module, nn.Conv2d) else library.prune_linear_out_channels
    everything = list(range(_width(module)))
    scores = importance(graph.get_pruning_group(module, function, idxs=everything))  # type: ignore[operator, attr-defined]
    chosen = sorted(scores.argsort()[:removed].tolist())
    group = graph.get_pruning_group(module, function, idxs=chosen)  # type: ignore[attr-defined]
    if not graph.check_pruning_group(group):  # type: ignore[attr-defined]
        raise UserError(f"{where}: {removed} channels of {path!r} cannot be removed; choose a wider network")
    group.prune()


def _width(module: nn.Module) -> int:
    """Return the number of outputs of a layer."""
    width = module.out_channels if isinstance(module, nn.Conv2d) else module.out_features
    assert isinstance(width, int)
    return width


def _library(where: str) -> ModuleType:
    """Import torch-pruning.

    Raises:
        UserError: it is not installed, or cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("torch_pruning")
    except ImportError as error:
        raise UserError(
            f'{where}: prune needs torch-pruning, which cannot be imported ({error}): pip install "i2ikd[pruning]"'
        ) from None
