"""Pairs of taps of two DC-CNNs.

Cascades are paired in order. If the numbers of cascades differ, the smaller number is spread evenly over the larger
one, and the last cascades always form a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from i2ikd_mri.kernels.convolution import first_and_last, middle
from torch import nn

from i2ikd import TapPairs, UserError
from i2ikd_mri_recon.cascade import Cascade
from i2ikd_mri_recon.network import DCCNN


def _cascades(network: nn.Module, side: str) -> list[int]:
    """Return the depth of each cascade."""
    if not isinstance(network, DCCNN):
        raise UserError(
            f"pairs of DC-CNN: expected two networks DCCNN, but the {side} is a {type(network).__name__}; set pairs of "
            "module paths"
        )
    return [len(cast(Cascade, cascade).layers) for cascade in network.cascades]


def spread(count: int, length: int) -> list[int]:
    """Select evenly spaced indices, the last one always included.

    Args:
        count: number of indices, 1..length.
        length: number of positions.

    Returns:
        ``count`` increasing indices in 0..length - 1.

    >>> spread(3, 5)
    [1, 2, 4]
    """
    return [((i + 1) * length + count // 2) // count - 1 for i in range(count)]


def _pairs(teacher: nn.Module, student: nn.Module, path: Callable[[int, int], str]) -> TapPairs:
    """Pair the cascades; ``path`` maps index and depth of a cascade to a module path."""
    large, small = _cascades(teacher, "teacher"), _cascades(student, "student")
    count = min(len(large), len(small))
    positions = zip(spread(count, len(large)), spread(count, len(small)))
    return [(path(t, large[t]), path(s, small[s])) for t, s in positions]


def features(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle blocks after their activation: conv 3 of 5 with conv 2 of 3, as in KD-MRI.

    Args:
        teacher: a DC-CNN.
        student: a DC-CNN.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a DC-CNN.
    """
    return _pairs(teacher, student, lambda cascade, depth: f"cascades.{cascade}.layers.{middle(depth)}")


def preactivations(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle convolutions before their activation.

    Args:
        teacher: a DC-CNN.
        student: a DC-CNN.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a DC-CNN.
    """
    return _pairs(teacher, student, lambda cascade, depth: f"cascades.{cascade}.layers.{middle(depth)}.convolution")


def images(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the images that the cascades output after data consistency.

    Args:
        teacher: a DC-CNN.
        student: a DC-CNN.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a DC-CNN.
    """
    return _pairs(teacher, student, lambda cascade, depth: f"cascades.{cascade}")


def layers(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the blocks of equal shape in each cascade: of n that the shorter has, the first n - 1, and the last.

    Depth 5 and depth 3: 0 with 0, 1 with 1, 4 with 2.

    Raises:
        UserError: one of the networks is no DC-CNN.
    """
    large, small = _cascades(teacher, "teacher"), _cascades(student, "student")
    count = min(len(large), len(small))
    return [
        (f"cascades.{t}.layers.{i}", f"cascades.{s}.layers.{j}")
        for t, s in zip(spread(count, len(large)), spread(count, len(small)))
        for i, j in first_and_last(large[t], small[s])
    ]


def blocks(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the cascades, from an image and its measurement to an image.

    Raises:
        UserError: one of the networks is no DC-CNN, or their numbers of cascades differ: then no cascade of the
            student can take the place of one of the teacher's.
    """
    large, small = len(_cascades(teacher, "teacher")), len(_cascades(student, "student"))
    if large != small:
        raise UserError(
            f"dc-cnn blocks: expected teacher and student to have equally many cascades, got {large} and {small}; set "
            "cascades of both to one number"
        )
    return [(f"cascades.{index}", f"cascades.{index}") for index in range(large)]
