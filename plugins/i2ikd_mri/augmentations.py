"""Random training views of a fully sampled slice, made before it is undersampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError

Other = Callable[[np.random.Generator], Tensor]
"""Draws the image of another sample."""


def _mix(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Mix in up to half of another image; one of another size is left alone."""
    partner, weight = other(random), float(random.uniform(0.5, 1.0))
    if partner.shape != image.shape:
        return image
    return weight * image + (1 - weight) * partner


def _flip(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Mirror each axis with probability 1/2."""
    return torch.flip(image, [axis for axis, flipped in enumerate(random.random(2) < 0.5) if flipped])


def _rotate90(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Turn by 0, 90, 180 or 270 degrees."""
    if image.shape[0] != image.shape[1]:
        raise UserError(f"the view 'rotate90' needs square slices, not {list(image.shape)}")
    return torch.rot90(image, int(random.integers(4)))


def _shift(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Move cyclically by up to an eighth of each side."""
    steps = [int(random.integers(-(n // 8), n // 8 + 1)) for n in image.shape]
    return torch.roll(image, steps, (0, 1))


def _intensity(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Scale by 0.8 to 1.2."""
    return image * float(random.uniform(0.8, 1.2))


AUGMENTATIONS = {"mix": _mix, "flip": _flip, "rotate90": _rotate90, "shift": _shift, "intensity": _intensity}
"""Every view by name, in the order in which they are made."""


def augment(image: Tensor, augmentations: Sequence[str], random: np.random.Generator, other: Other) -> Tensor:
    """Return a random view of an image [H, W].

    Args:
        image: real or complex.
        views: names of ``AUGMENTATIONS``.
        random: where every choice comes from.
        other: draws the image of another sample, for ``mix``.

    Raises:
        UserError: ``rotate90`` of a slice that is not square.
    """
    for name, view in AUGMENTATIONS.items():
        if name in augmentations:
            image = view(image, random, other)
    return image.contiguous()
