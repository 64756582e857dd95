"""Probing of a network with small images: which sizes it supports, and whether it preserves them."""

from __future__ import annotations

import copy
import warnings
from typing import NamedTuple

import torch

from i2ikd import UserError
from i2ikd_networks.adapted import Adapted

MULTIPLES = (1, 2, 4, 8, 16, 32, 3, 6, 12, 24, 9, 27, 64)
"""Products of strides of 2 (in nearly all networks) and 3; the largest is last, since its error is reported."""
AMPLE = 64
"""Rows of an image that is large enough for networks whose strides multiply to at most half of them."""


class Sizes(NamedTuple):
    """Input sizes that a network supports.

    Attributes:
        multiple: rows and columns must be multiples of this number.
        least: smallest number of rows and columns.
    """

    multiple: int
    least: int


def fitting_sizes(network: Adapted, out_channels: int) -> Sizes:
    """Determine the input sizes for which the output of a network has the size of its input.

    A copy of the network is run in training mode on one image (where normalisations need more than one value) and in
    eval mode on two. Consecutive multiples as rows and columns identify the multiple, since only its divisors divide
    both. The network and the state of the random number generator are not changed.

    Args:
        network: the network.
        out_channels: expected channels of the output.

    Raises:
        UserError: the output is not one image, has another number of channels, or has another size than the input for
            all sizes.
    """
    trial = copy.deepcopy(network)
    problem = ""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for multiple in MULTIPLES:
            rows = multiple * max(2, -(-AMPLE // multiple))
            ample = (rows, rows + multiple)
            problem = _problem(trial.train(), 1, out_channels, ample) or _problem(trial.eval(), 2, out_channels, ample)
            if not problem:
                least = multiple
                while least < rows and _problem(trial.train(), 1, out_channels, (least, least)):
                    least *= 2
                return Sizes(multiple, least)
    raise UserError(f"expected an output of the size of the input, got another for all sizes; last error: {problem}")


def _problem(trial: Adapted, batch: int, out_channels: int, size: tuple[int, int]) -> str:
    """Return the error for a size; empty if the network supports it."""
    try:
        output = trial.forward_unpadded(torch.zeros(batch, trial.adaptation.channels, *size))
    except UserError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if output.shape[:2] != (batch, out_channels):
        raise UserError(f"expected an output [{batch}, {out_channels}, {size[0]}, {size[1]}], got {list(output.shape)}")
    if output.shape[-2:] != size:
        return f"{output.shape[-2]} x {output.shape[-1]} from {size[0]} x {size[1]}"
    return ""
