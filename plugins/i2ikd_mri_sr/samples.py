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

    def simulated_from(self, found: Slice) -> Sequence[str]:
        """Return that the low-resolution input is simulated, with its size and that of the slice."""
        (height, width), (kept_height, kept_width) = found.shape, self._low_resolution.kept(found.shape)
        kind = "complex" if found.image is not None and found.image.is_complex() else "magnitude"
        return (
            f"low resolution, from {kind} images: k-space of {height} x {width} cut to its central "
            f"{kept_height} x {kept_width}",
        )

    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Simulate a low-resolution input [1, h, w] from an image [H, W]; the target [1, H, W] is its magnitude."""
        if not image.is_complex():
            image = magnitude(image)
        return Sample(self._low_resolution.network_input(image)[None], magnitude(image)[None], {}, key)


class LowResolutionSamples(SliceSamples):
    """Low-resolution slices without fully sampled targets; targets are all zeros.

    Args:
        slices: the low-resolution slices.
        low_resolution: factor and grid.
        memory: the cache.
        full_size: (H, W) of the fully sampled slices of the training; ``None``: not known.
    """

    def __init__(
        self,
        slices: Slices,
        low_resolution: LowResolution,
        memory: BoundedCache[Any],
        full_size: tuple[int, int] | None,
    ) -> None:
        super().__init__(slices, (), memory, "file")
        self._low_resolution = low_resolution
        self._full_size = full_size

    def simulated_from(self, found: Slice) -> Sequence[str]:
        """Return nothing: the slice is the input."""
        return ()

    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Resample an image [h, w] to the grid of the network input; nothing is degraded."""
        size = self._low_resolution.enlarged((image.shape[0], image.shape[1]), self._full_size)
        if self._low_resolution.grid == "target":
            image = resample(image.to(torch.complex64), size)
        return Sample(image.abs()[None], torch.zeros(1, *size), {}, key)


def magnitude(image: Tensor) -> Tensor:
    """Return the absolute values of an image.

    Args:
        image: [..., H, W], real or complex.

    Returns:
        [..., H, W], real; ``image`` itself where it is real and has no negative value.
    """
    return image.abs() if image.is_complex() or bool((image < 0).any()) else image
