"""Which taps of two denoising networks go together: the activation in the middle of each."""

from __future__ import annotations

from torch import nn

from i2ikd import UserError
from i2ikd_denoising.network import DenoisingCNN


def middle(teacher: nn.Module, student: nn.Module) -> list[tuple[str, str]]:
    """Pair the middle activations of networks of any depth.

    Raises:
        UserError: one of them is another network.
    """
    return [(_middle(teacher, "teacher"), _middle(student, "student"))]


def _middle(network: nn.Module, side: str) -> str:
    if not isinstance(network, DenoisingCNN):
        raise UserError(
            f"these pairs are for two denoising-cnns, and the {side} is a {type(network).__name__}; name pairs of paths"
        )
    return f"layers.{(len(network.layers) - 2) // 2}"
