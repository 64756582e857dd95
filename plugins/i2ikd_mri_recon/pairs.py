"""Pairs of taps of two networks of cascades: DC-CNN, VarNet; and of a U-Net, which is one block.

Cascades are paired in order. If the numbers of cascades differ, the smaller number is spread evenly over the larger
one, and the last cascades always form a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from i2ikd_mri.kernels.convolution import first_and_last, middle, spread
from torch import nn

from i2ikd import TapPairs, UserError
from i2ikd_mri_recon.cascade import Cascade
from i2ikd_mri_recon.network import DCCNN
from i2ikd_mri_recon.unet import UNet
from i2ikd_mri_recon.varnet import VarNet


def _cascades(network: nn.Module, side: str) -> list[int]:
    """Return the depth of each cascade."""
    if not isinstance(network, DCCNN):
        raise UserError(
            f"pairs of DC-CNN: expected two networks DCCNN, but the {side} is a {type(network).__name__}; set pairs of "
            "module paths"
        )
    return [len(cast(Cascade, cascade).layers) for cascade in network.cascades]


def _count(network: nn.Module, side: str) -> int:
    """Return the number of cascades, of one interface for networks that take the same k-space."""
    return len(network.cascades) if isinstance(network, VarNet) else len(_cascades(network, side))


def _pairs(teacher: nn.Module, student: nn.Module, path: Callable[[int, int], str]) -> TapPairs:
    """Pair the cascades; ``path`` maps index and depth of a cascade to a module path."""
    large, small = _cascades(teacher, "teacher"), _cascades(student, "student")
    count = min(len(large), len(small))
    positions = zip(spread(count, len(large)), spread(count, len(small)))
    return [(path(t, large[t]), path(s, small[s])) for t, s in positions]


def _feature_paths(network: nn.Module, side: str) -> list[str]:
    """Return the path of the features of each cascade, of the size of the image."""
    if isinstance(network, DCCNN):
        depths = _cascades(network, side)
        return [f"cascades.{index}.layers.{middle(depth)}" for index, depth in enumerate(depths)]
    if isinstance(network, VarNet):
        unets = [cast(UNet, cascade.refinement) for cascade in network.cascades]
        return [f"cascades.{index}.refinement.{_finest(unet)}" for index, unet in enumerate(unets)]
    if isinstance(network, UNet):
        return [_finest(network)]
    raise UserError(
        f"pairs of features: expected a DCCNN, VarNet or UNet, but the {side} is a {type(network).__name__}; set pairs "
        "of module paths"
    )


def _finest(unet: UNet) -> str:
    return f"decoder.{len(unet.decoder) - 1}"


def features(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair one block of each cascade, of the size of the image, after its activation.

    Of a DC-CNN the middle block: conv 3 of 5 with conv 2 of 3, as in KD-MRI. Of a VarNet the last block of each U-Net;
    of a U-Net its last block, which is paired with the last cascade.

    Args:
        teacher: a DC-CNN, VarNet or U-Net.
        student: a DC-CNN, VarNet or U-Net.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is of another kind.
    """
    large, small = _feature_paths(teacher, "teacher"), _feature_paths(student, "student")
    count = min(len(large), len(small))
    return [(large[t], small[s]) for t, s in zip(spread(count, len(large)), spread(count, len(small)))]


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
    """Pair the images that the cascades output: of a DC-CNN after data consistency.

    Args:
        teacher: a DC-CNN or VarNet.
        student: a DC-CNN or VarNet.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is of another kind.
    """
    large, small = _count(teacher, "teacher"), _count(student, "student")
    count = min(large, small)
    return [(f"cascades.{t}", f"cascades.{s}") for t, s in zip(spread(count, large), spread(count, small))]


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
        UserError: one of the networks is no DC-CNN or VarNet, or their numbers of cascades differ: then no cascade of
            the student can take the place of one of the teacher's.
    """
    large, small = _count(teacher, "teacher"), _count(student, "student")
    if large != small:
        raise UserError(
            f"dc-cnn blocks: expected teacher and student to have equally many cascades, got {large} and {small}; set "
            "cascades of both to one number"
        )
    return [(f"cascades.{index}", f"cascades.{index}") for index in range(large)]
