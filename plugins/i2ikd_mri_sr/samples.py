"""The samples of one split of the super-resolution task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from i2ikd_mri.resample import resample
from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slice_samples import SliceSamples
from i2ikd_mri.slices import Slice, Slices
from torch import Tensor

from i2ikd import Sample, SampleKey
from i2ikd_mri_sr.low_resolution import LowResolution


class SuperResolutionSamples(SliceSamples):
    """Slices with their low-resolution images, which are made after the random views.

    Args:
        slices: where the images come from.
        low_resolution: how they lose their resolution.
        views: random views of the target.
        memory: the budget.
        name: what tells this split from others in ``memory``.
    """

    def __init__(
        self, slices: Slices, low_resolution: LowResolution, augmentations: Sequence[str], memory: SliceCache, name: str
    ) -> None:
        super().__init__(slices, augmentations, memory, name)
        self._low_resolution = low_resolution

    def simulate(self, image: Tensor, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Lower the resolution of an image [H, W], real or complex; the target is its magnitude."""
        if not image.is_complex():
            image = magnitude(image)
        return Sample(self._low_resolution.seen(image)[None], magnitude(image)[None], {}, key)


class LowResolutionSamples(SuperResolutionSamples):
    """Slices that are of low resolution already: no target is known, and it is all zeros."""

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Put a slice on the grid that a network expects."""
        image = self._image(found)
        size = self._low_resolution.enlarged((image.shape[0], image.shape[1]))
        if self._low_resolution.grid == "target":
            image = resample(image.to(torch.complex64), size)
        return Sample(image.abs()[None], torch.zeros(1, *size), {}, self.keys[index])


def magnitude(image: Tensor) -> Tensor:
    """Return absolute values; an image that has no others is returned as it is, and shares its memory."""
    return image.abs() if image.is_complex() or bool((image < 0).any()) else image
