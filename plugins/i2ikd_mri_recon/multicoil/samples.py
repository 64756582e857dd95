"""Samples of one split of the multi-coil task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from i2ikd_mri.coils.slices import CoilSlice, CoilSlices
from i2ikd_mri.masks import measured_acceleration
from i2ikd_mri.slice_samples import VolumeSamples

from i2ikd import BoundedCache, Sample, UserError
from i2ikd_mri_recon.multicoil.acquisition import Acquisition

_SCORED = ("val", "test")
"""Splits whose samples need a target."""


class CoilSamples(VolumeSamples[CoilSlice]):
    """Slices of multi-coil k-space, undersampled where they are fully sampled.

    Args:
        slices: the slices of the split.
        acquisition: simulates the measurement.
        memory: cache shared by all splits.
        name: name of the split, or ``file``; prefix of its keys in ``memory``.
        mask_name: name of the mask of the task, for statements.
    """

    def __init__(
        self, slices: CoilSlices, acquisition: Acquisition, memory: BoundedCache[Any], name: str, mask_name: str
    ) -> None:
        super().__init__(slices, memory, name)
        self._acquisition = acquisition
        self._mask_name = mask_name
        self.varies = not acquisition.mask.fixed

    def simulated_from(self, found: CoilSlice) -> Sequence[str]:
        """Return that fully sampled k-space is undersampled; nothing for other slices."""
        if not found.complete:
            return ()
        applied = "the mask of the file" if found.mask is not None else f"mask {self._mask_name}"
        acceleration = measured_acceleration(self._acquisition.mask_of(found, (0,)))
        return (f"undersampling of fully sampled k-space; {applied} applied, acceleration {acceleration:.2f}",)

    def from_slice(self, found: CoilSlice, index: int) -> Sample:
        """Return the deterministic sample of a slice; see ``VolumeSamples``."""
        return self._acquired(found, index, (index,))

    def random(self, found: CoilSlice, index: int, seed: int) -> Sample:
        """Return the sample of a slice with a mask of its own; see ``VolumeSamples``."""
        return self._acquired(found, index, (index, seed))

    def _acquired(self, found: CoilSlice, index: int, draw: Sequence[int]) -> Sample:
        if not found.complete and self._name in _SCORED:
            raise UserError(
                f"{found.where}: expected fully sampled k-space in the split {self._name!r}, which is scored, got "
                "undersampled k-space; move the file to new data (i2ikd infer), or exclude it with include"
            )
        try:
            return self._acquisition(found, self.keys[index], draw)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(found.where) else f"{found.where}: {text}") from None
