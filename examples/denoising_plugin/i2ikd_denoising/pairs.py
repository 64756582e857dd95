"""Pairs of taps of two denoising networks: the middle activation of each."""

from __future__ import annotations

from torch import nn

from i2ikd import TapPairs, UserError
from i2ikd_denoising.network import DenoisingCNN


def middle(teacher: nn.Module, student: nn.Module) -> TapPairs:
    """Pair the middle activations of networks of any depth.

    Args:
        teacher: a denoising-cnn.
        student: a denoising-cnn.

    Returns:
        One pair (teacher path, student path).

    Raises:
        UserError: one of the networks is not a denoising-cnn.
    """
    return [(_middle(teacher, "teacher"), _middle(student, "student"))]


def _middle(network: nn.Module, side: str) -> str:
    if not isinstance(network, DenoisingCNN):
        raise UserError(
            f"pairs of denoising-cnn: expected two networks DenoisingCNN, but the {side} is a "
            f"{type(network).__name__}; set pairs of module paths"
        )
    return f"layers.{(len(network.layers) - 2) // 2}"
