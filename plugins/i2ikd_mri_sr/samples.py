"""Samples of one split of the super-resolution task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from i2ikd_mri.resample import resample
from i2ikd_mri.slice_samples import SliceSamples
from i2ikd_mri.slices import Slice, Slices
from torch import Tensor

from i2ikd import BoundedCache, Sample, SampleKey
from i2ikd_mri_sr.low_resolution import LowResolution


class SuperResolutionSamples(SliceSamples):
    """Slices with their low-resolution images, which are simulated after the augmentation.

    Args:
        slices: the fully sampled slices.
        low_resolution: simulates the low-resolution acquisition.
        augmentations: names of the random augmentations, applied to the target.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
    """

    def __init__(
        self,
        slices: Slices,
        low_resolution: LowResolution,
        augmentations: Sequence[str],
        memory: BoundedCache[Any],
        name: str,
    ) -> None:
        super().__init__(slices, augmentations, memory, name)
        self._low_resolution = low_resolution

    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Simulate a low-resolution input [1, h, w] from an image [H, W]; the target [1, H, W] is its magnitude."""
        if not image.is_complex():
            image = magnitude(image)
        return Sample(self._low_resolution.network_input(image)[None], magnitude(image)[None], {}, key)


class LowResolutionSamples(SuperResolutionSamples):
    """Low-resolution slices without fully sampled targets; targets are all zeros."""

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Resample a slice to the grid of the network input; see ``SliceSamples.from_slice``."""
        image = self._image(found)
        size = self._low_resolution.enlarged((image.shape[0], image.shape[1]))
        if self._low_resolution.grid == "target":
            image = resample(image.to(torch.complex64), size)
        return Sample(image.abs()[None], torch.zeros(1, *size), {}, self.keys[index])


def magnitude(image: Tensor) -> Tensor:
    """Return the absolute values of an image.

    Args:
        image: [..., H, W], real or complex.

    Returns:
        [..., H, W], real; ``image`` itself where it is real and has no negative value.
    """
    return image.abs() if image.is_complex() or bool((image < 0).any()) else image
