"""Random augmentations of a fully sampled slice, applied before the simulated acquisition."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from i2ikd import UserError

Other = Callable[[np.random.Generator], Tensor]
"""Function that draws the image [H, W] of another sample."""


def _mix(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Blend with another image of weight 0..0.5; an image of another size leaves the slice unchanged."""
    partner, weight = other(random), float(random.uniform(0.5, 1.0))
    if partner.shape != image.shape:
        return image
    return weight * image + (1 - weight) * partner


def _flip(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Reverse each axis with probability 1/2."""
    return torch.flip(image, [axis for axis, flipped in enumerate(random.random(2) < 0.5) if flipped])


def _rotate90(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Rotate by 0, 90, 180 or 270 degrees."""
    if image.shape[0] != image.shape[1]:
        raise UserError(f"augmentation 'rotate90': expected square slices, got {list(image.shape)}")
    return torch.rot90(image, int(random.integers(4)))


def _shift(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Shift cyclically by up to an eighth of each side."""
    steps = [int(random.integers(-(n // 8), n // 8 + 1)) for n in image.shape]
    return torch.roll(image, steps, (0, 1))


def _intensity(image: Tensor, random: np.random.Generator, other: Other) -> Tensor:
    """Scale by a factor in 0.8..1.2."""
    return image * float(random.uniform(0.8, 1.2))


AUGMENTATIONS = {"mix": _mix, "flip": _flip, "rotate90": _rotate90, "shift": _shift, "intensity": _intensity}
"""Augmentations by name, in the order of application."""


def augment(image: Tensor, augmentations: Sequence[str], random: np.random.Generator, other: Other) -> Tensor:
    """Apply random augmentations to an image.

    Args:
        image: [H, W], real or complex.
        augmentations: names of ``AUGMENTATIONS``; they are applied in the order of that table.
        random: source of randomness.
        other: draws the image of another sample, for ``mix``.

    Returns:
        The augmented image [H, W], contiguous, of the same dtype.

    Raises:
        UserError: ``rotate90`` of a slice that is not square.
    """
    for name, augmentation in AUGMENTATIONS.items():
        if name in augmentations:
            image = augmentation(image, random, other)
    return image.contiguous()
