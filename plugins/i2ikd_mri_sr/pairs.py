"""Pairs of taps of two VDSRs, or of two upsampling-cnns."""

from __future__ import annotations

from typing import TypeVar

from i2ikd_mri.kernels.convolution import grouped_layers, groups, middle
from torch import nn

from i2ikd import TapPairs, UserError
from i2ikd_mri_sr.upsampling import UpsamplingCNN
from i2ikd_mri_sr.vdsr import VDSR

Kind = TypeVar("Kind", VDSR, UpsamplingCNN)


def _both(teacher: nn.Module, student: nn.Module, kind: type[Kind]) -> tuple[Kind, Kind]:
    """Check that both networks are of one class."""
    for side, network in (("teacher", teacher), ("student", student)):
        if not isinstance(network, kind):
            raise UserError(
                f"pairs of {kind.__name__}: expected two networks {kind.__name__}, but the {side} is a "
                f"{type(network).__name__}; set pairs of module paths"
            )
    return teacher, student  # type: ignore[return-value]


def vdsr(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle blocks after their activation: conv 6 of 11 with conv 4 of 7, as in KD-MRI.

    Args:
        teacher: a VDSR.
        student: a VDSR.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a VDSR.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{middle(large)}", f"layers.{middle(small)}")]


def vdsr_preactivations(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle convolutions before their activation.

    Args:
        teacher: a VDSR.
        student: a VDSR.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a VDSR.
    """
    return [(f"{large}.convolution", f"{small}.convolution") for large, small in vdsr(teacher, student)]


def vdsr_images(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the corrections that the networks add to their input.

    Args:
        teacher: a VDSR.
        student: a VDSR.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not a VDSR.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{large - 1}", f"layers.{small - 1}")]


def vdsr_layers(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the blocks of equal shape, in each of the groups of ``vdsr_blocks`` the first ones and the last.

    Depth 11 and depth 7: 0 with 0, 3 with 1, 4 with 2, 5 with 3, 6 with 4, 7 with 5, 10 with 6.

    Raises:
        UserError: one of the networks is not a vdsr.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{t}", f"layers.{s}") for t, s in grouped_layers(large, small)]


def vdsr_blocks(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair groups of consecutive blocks, of which both networks have equally many.

    Depth 11 and depth 7: 0 to 3 with 0 to 1, 4 to 6 with 2 to 4, 7 to 10 with 5 to 6.

    Raises:
        UserError: one of the networks is not a vdsr.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return _groups(large, small)


def _groups(large: int, small: int) -> TapPairs:
    return [(f"layers.{a}..layers.{b}", f"layers.{c}..layers.{d}") for (a, b), (c, d) in groups(large, small)]


def upsampling(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle blocks and the last blocks, whose features are enlarged; one pair where these coincide.

    Args:
        teacher: an upsampling-cnn.
        student: an upsampling-cnn.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not an upsampling-cnn.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, UpsamplingCNN))
    places = dict.fromkeys([(large // 2, small // 2), (large - 1, small - 1)])
    return [(f"layers.{t}", f"layers.{s}") for t, s in places]


def upsampling_preactivations(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the convolutions of the middle and the last blocks before their activation.

    Args:
        teacher: an upsampling-cnn.
        student: an upsampling-cnn.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not an upsampling-cnn.
    """
    return [(f"{large}.convolution", f"{small}.convolution") for large, small in upsampling(teacher, student)]


def upsampling_images(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the corrections that the networks add to the enlarged input.

    Args:
        teacher: an upsampling-cnn.
        student: an upsampling-cnn.

    Returns:
        Pairs (teacher path, student path).

    Raises:
        UserError: one of the networks is not an upsampling-cnn, or their options ``residual`` differ.
    """
    large, small = _both(teacher, student, UpsamplingCNN)
    if large.residual != small.residual:
        raise UserError(
            f"pairs of UpsamplingCNN images: expected the same residual, got {large.residual!r} (teacher) and "
            f"{small.residual!r} (student); set one residual for both"
        )
    return [("tail", "tail")]


def upsampling_layers(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the blocks of equal shape as in two VDSRs, and the sub-pixel convolutions.

    Raises:
        UserError: one of the networks is not an upsampling-cnn.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, UpsamplingCNN))
    pairs = grouped_layers(large, small) if min(large, small) > 1 else [(0, 0)]
    return [*((f"layers.{t}", f"layers.{s}") for t, s in pairs), ("tail", "tail")]


def upsampling_blocks(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair groups of consecutive blocks, and the sub-pixel convolutions.

    Raises:
        UserError: one of the networks is not an upsampling-cnn.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, UpsamplingCNN))
    return [*_groups(large, small), ("tail", "tail")]
