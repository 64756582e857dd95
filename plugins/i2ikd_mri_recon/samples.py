"""Samples of one split of the reconstruction task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from i2ikd_mri.masks import measured_acceleration
from i2ikd_mri.slice_samples import SliceSamples
from i2ikd_mri.slices import Slice, Slices
from torch import Tensor

from i2ikd import BoundedCache, Sample, SampleKey
from i2ikd_mri_recon.undersampling import Undersampling


class ReconSamples(SliceSamples):
    """Undersampled slices.

    Each sample has the conditions ``kspace`` (complex64 [1, H, W], zero where not measured) and ``mask`` (float32
    [1, H, 1], [1, 1, W] or [1, H, W]).

    Args:
        slices: the slices of the split.
        undersampling: simulates the acquisition.
        augmentations: names of the random augmentations, applied to the image before the acquisition.
        stored: whether an undersampled pair stored in the file takes precedence over a simulated one.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
        mask_name: name of the mask, for ``simulated``.
    """

    def __init__(
        self,
        slices: Slices,
        undersampling: Undersampling,
        augmentations: Sequence[str],
        stored: bool,
        memory: BoundedCache[Any],
        name: str,
        mask_name: str,
    ) -> None:
        super().__init__(slices, augmentations, memory, name)
        self._undersampling = undersampling
        self._mask_name = mask_name
        self._stored = stored
        self.varies = bool(augmentations) or not (stored or undersampling.mask.fixed)

    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Undersample an image [H, W]; ``draw`` holds the seeds of a random mask."""
        return self._undersampling.simulate(image, found, key, draw)

    def simulated_from(self, found: Slice) -> Sequence[str]:
        """Return that k-space and mask are simulated, unless the slice has its own."""
        if found.image is None or self._is_stored(found):
            return ()
        kind = "complex" if found.image.is_complex() else "magnitude"
        acceleration = measured_acceleration(self._undersampling.mask_of(found, (0,)))
        return (f"k-space from {kind} images; mask {self._mask_name} applied, acceleration {acceleration:.2f}",)

    def _is_stored(self, found: Slice) -> bool:
        return found.kspace is not None and (self._stored or found.image is None)

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Return the stored pair if ``stored`` is set or no image exists, otherwise a simulated sample."""
        if self._is_stored(found):
            return self._undersampling.stored(found, self.keys[index])
        return super().from_slice(found, index)
