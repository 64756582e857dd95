"""Initial weights of deep networks that output a correction of their input, 0 at the start."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def start_from_the_input(activated: Iterable[nn.Conv2d], last: nn.Conv2d) -> None:
    """Draw initial weights in place, such that the network starts as the identity.

    torch's defaults attenuate the signal to 40 % in every layer: with ten layers, hundreds of steps pass before the
    network improves on its input.

    Args:
        activated: convolutions followed by a ReLU; their weights preserve the variance of the signal (He et al.,
            arXiv:1502.01852), as in the paper of VDSR.
        last: the convolution that outputs the correction; its weights and bias are set to 0.
    """
    for convolution in activated:
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        _zero(convolution.bias)
    _zero(last.weight)
    _zero(last.bias)


def _zero(parameter: Tensor | None) -> None:
    if parameter is not None:
        nn.init.zeros_(parameter)
