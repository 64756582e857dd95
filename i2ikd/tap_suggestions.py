"""Shapes of everything that can be tapped in a network, and pairs of taps that fit two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.network import apply, eval_mode
from i2ikd.sample import Batch
from i2ikd.wrapping import unwrapped

_MOST_PAIRS = 4

Shapes = dict[str, tuple[int, ...]]
"""Shape of the output by module path, in the order of the calls; without the batch axis."""


def tap_shapes(network: nn.Module, batch: Batch) -> Shapes:
    """Run a network once in eval mode and return the shape of every module's output that is one tensor.

    Args:
        network: the network.
        batch: of one sample or more.

    Raises:
        UserError: the network cannot take the batch.

    >>> network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3, padding=2))
    >>> tap_shapes(network, Batch(torch.zeros(1, 1, 8, 8), torch.zeros(1, 0), labelled=torch.zeros(1) > 0))
    {'0': (3, 6, 6), '1': (3, 6, 6), '2': (1, 8, 8)}
    """
    shapes: Shapes = {}

    def record(path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and path not in shapes:
                shapes[path] = tuple(output.shape[1:])

        return hook

    inner = unwrapped(network)
    handles = [module.register_forward_hook(record(path)) for path, module in inner.named_modules() if path]
    try:
        with eval_mode(inner), torch.no_grad():
            apply(inner, batch)
    except UserError:
        raise
    except Exception as error:
        found = ", ".join(
            f"{name} {list(value.shape)}" for name, value in {"input": batch.input, **batch.conditions}.items()
        )
        raise UserError(f"{type(inner).__name__} cannot take {found}: {type(error).__name__}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def suggested_pairs(teacher: nn.Module, student: nn.Module, batch: Batch) -> list[tuple[str, str]]:
    """Return pairs of feature maps of equal height and width at the same relative depth, at most 4.

    At each size of the student's feature maps, its last activation is paired with the teacher's activation that has the
    same relative position among those of that size; the deepest sizes are kept.

    Args:
        teacher: the larger network.
        student: the smaller network.
        batch: that both take.

    Raises:
        UserError: a network cannot take the batch.
    """
    left, right = (_by_size(_activations(network, tap_shapes(network, batch))) for network in (teacher, student))
    pairs = []
    for size, paths in right.items():
        if size not in left:
            continue
        chosen = max(len(paths) - 1, 0)
        position = round((chosen + 1) / len(paths) * len(left[size])) - 1
        pairs.append((left[size][position], paths[chosen]))
        if len(right) == 1 and len(paths) > 1:  # one size: the middle too, as features of the end repeat the image
            middle = (len(paths) - 1) // 2
            pairs.insert(0, (left[size][round((middle + 1) / len(paths) * len(left[size])) - 1], paths[middle]))
    return pairs[-_MOST_PAIRS:]


def _activations(network: nn.Module, shapes: Mapping[str, Sequence[int]]) -> Shapes:
    """Return the outputs of activations [C, H, W]; without any, those of convolutions but the last."""
    modules = dict(unwrapped(network).named_modules())
    maps = {path: tuple(shape) for path, shape in shapes.items() if len(shape) == 3 and shape[0] > 1}
    found = {path: shape for path, shape in maps.items() if _is_activation(modules[path])}
    if found:
        return found
    convolutions = [path for path in maps if isinstance(modules[path], nn.Conv2d)]
    return {path: maps[path] for path in convolutions[:-1] or convolutions}


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


def _by_size(shapes: Shapes) -> dict[tuple[int, ...], list[str]]:
    """Return the paths by height and width, in the order of the calls."""
    found: dict[tuple[int, ...], list[str]] = {}
    for path, shape in shapes.items():
        found.setdefault(tuple(shape[1:]), []).append(path)
    return found
