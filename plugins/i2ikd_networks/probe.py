"""Trying a network out on small images: which sizes it can take, and whether it gives an image of the same size."""

from __future__ import annotations

import copy
import warnings
from typing import NamedTuple

import torch

from i2ikd import UserError
from i2ikd_networks.adapted import Adapted

MULTIPLES = (1, 2, 4, 8, 16, 32, 3, 6, 12, 24, 9, 27, 64)
"""What strides of 2 (nearly all networks have them) and of 3 multiply to; the last one has the most telling problem."""
AMPLE = 64
"""Rows of an image that no network finds too small, unless its strides multiply to more than half of them."""


class Sizes(NamedTuple):
    """What a network can take: rows and columns that are multiples of one number, and how many at least."""

    multiple: int
    least: int


def fitting_sizes(network: Adapted, out_channels: int) -> Sizes:
    """Return the sizes for which the network gives an image of the size of its input.

    A copy is run, training on one image (where normalisations need more than one value) and evaluating two. Consecutive
    multiples as rows and columns show the multiple, since only its divisors divide both. The network and the random
    numbers are left as they are.

    Raises:
        UserError: it gives something else than an image, or one of another size whatever it is given.
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
    raise UserError(f"it gives no image of the size of its input, whatever that is; the last that was tried: {problem}")


def _problem(trial: Adapted, batch: int, out_channels: int, size: tuple[int, int]) -> str:
    """Say what is wrong with a size; empty when nothing is."""
    try:
        output = trial.as_the_library_has_it(torch.zeros(batch, trial.adaptation.channels, *size))
    except UserError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if output.shape[:2] != (batch, out_channels):
        raise UserError(
            f"it gives {list(output.shape)} where [{batch}, {out_channels}, {size[0]}, {size[1]}] is wanted"
        )
    if output.shape[-2:] != size:
        return f"{output.shape[-2]} x {output.shape[-1]} from {size[0]} x {size[1]}"
    return ""
