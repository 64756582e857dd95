"""Which taps of a teacher go with which of a student: two VDSRs, or two networks with an upsampling tail."""

from __future__ import annotations

from typing import TypeVar

from i2ikd_mri.kernels.convolution import first_and_last, middle
from torch import nn

from i2ikd import UserError
from i2ikd_mri_sr.upsampling import UpsamplingCNN
from i2ikd_mri_sr.vdsr import VDSR

Pairs = list[tuple[str, str]]
Kind = TypeVar("Kind", VDSR, UpsamplingCNN)


def _both(teacher: nn.Module, student: nn.Module, kind: type[Kind]) -> tuple[Kind, Kind]:
    for side, network in (("teacher", teacher), ("student", student)):
        if not isinstance(network, kind):
            raise UserError(
                f"these pairs are for two networks {kind.__name__}, but the {side} is a {type(network).__name__}; "
                "name pairs of module paths"
            )
    return teacher, student  # type: ignore[return-value]


def vdsr(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair the middle blocks, after their activation: conv 6 of 11 with conv 4 of 7, as KD-MRI does.

    Raises:
        UserError: one of the networks is no VDSR.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{middle(large)}", f"layers.{middle(small)}")]


def vdsr_preactivations(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair the middle convolutions, before their activation.

    Raises:
        UserError: one of the networks is no VDSR.
    """
    return [(f"{large}.convolution", f"{small}.convolution") for large, small in vdsr(teacher, student)]


def vdsr_images(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair what the networks add to their input.

    Raises:
        UserError: one of the networks is no VDSR.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{large - 1}", f"layers.{small - 1}")]


def vdsr_layers(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair the blocks of equal shape: of n that the shorter network has, the first n - 1, and the last.

    Depth 11 and depth 7: 0 with 0 to 5 with 5, 10 with 6.

    Raises:
        UserError: one of the networks is no VDSR.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, VDSR))
    return [(f"layers.{t}", f"layers.{s}") for t, s in first_and_last(large, small)]


def upsampling(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair the middle blocks, and the last ones, whose features are enlarged; one pair where these are the same.

    Raises:
        UserError: one of the networks is no upsampling-cnn.
    """
    large, small = (len(network.layers) for network in _both(teacher, student, UpsamplingCNN))
    places = dict.fromkeys([(large // 2, small // 2), (large - 1, small - 1)])
    return [(f"layers.{t}", f"layers.{s}") for t, s in places]


def upsampling_preactivations(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair the convolutions of the same blocks, before their activation.

    Raises:
        UserError: one of the networks is no upsampling-cnn.
    """
    return [(f"{large}.convolution", f"{small}.convolution") for large, small in upsampling(teacher, student)]


def upsampling_images(teacher: nn.Module, student: nn.Module) -> Pairs:
    """Pair what the networks add to the enlarged input.

    Raises:
        UserError: one of the networks is no upsampling-cnn, or they add it to unlike images.
    """
    large, small = _both(teacher, student, UpsamplingCNN)
    if large.residual != small.residual:
        raise UserError(
            f"what the teacher adds to residual = {large.residual!r} and the student to {small.residual!r} cannot be "
            "compared; give both one residual"
        )
    return [("tail", "tail")]
