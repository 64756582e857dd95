"""Initial weights with which deep networks learn from the first step, and start as the image that they improve."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def start_from_the_input(activated: Iterable[nn.Conv2d], last: nn.Conv2d) -> None:
    """Draw initial weights.

    torch's own let the signal shrink to 40 % in every layer: with ten of them, hundreds of steps pass before a network
    does better than no network.

    Args:
        activated: convolutions with a ReLU after them; they keep the signal's variance (He et al., arXiv:1502.01852),
            as in VDSR's paper.
        last: the convolution that gives the image to be added; it starts at 0.
    """
    for convolution in activated:
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        _zero(convolution.bias)
    _zero(last.weight)
    _zero(last.bias)


def _zero(parameter: Tensor | None) -> None:
    if parameter is not None:
        nn.init.zeros_(parameter)
