"""The samples of one split of the reconstruction task."""

from __future__ import annotations

from collections.abc import Sequence

from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slice_samples import SliceSamples
from i2ikd_mri.slices import Slice, Slices
from torch import Tensor

from i2ikd import Sample, SampleKey
from i2ikd_mri_recon.undersampling import Undersampling


class ReconSamples(SliceSamples):
    """Slices, undersampled.

    Each sample has conditions ``kspace`` (complex64 [1, H, W], zero where not measured) and ``mask`` (float32
    [1, H, 1], [1, 1, W] or [1, H, W]).

    Args:
        slices: where the images come from.
        undersampling: how they are measured.
        views: random views of the image, made before it is measured.
        stored: whether a pair that the file stores is preferred to a simulated one.
        memory: the budget.
        name: what tells this split from others in ``memory``.
    """

    def __init__(
        self,
        slices: Slices,
        undersampling: Undersampling,
        augmentations: Sequence[str],
        stored: bool,
        memory: SliceCache,
        name: str,
    ) -> None:
        super().__init__(slices, augmentations, memory, name)
        self._undersampling = undersampling
        self._stored = stored
        self.varies = bool(augmentations) or not (stored or undersampling.mask.fixed)

    def simulate(self, image: Tensor, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Measure an image [H, W]; ``draw`` tells random masks apart."""
        return self._undersampling.simulate(image, key, draw)

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Take the stored pair if that is wanted, or all there is; simulate otherwise."""
        if found.kspace is not None and (self._stored or found.image is None):
            return self._undersampling.stored(found, self.keys[index])
        return super().from_slice(found, index)
