"""The samples of one split of the reconstruction task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from i2ikd_mri.memory import Memory
from i2ikd_mri.slices import Slice, Slices
from i2ikd_mri.views import look
from torch import Tensor

from i2ikd import Sample, SampleDataset, SampleKey, UserError
from i2ikd_mri_recon.undersampling import Undersampling


class ReconSamples(SampleDataset):
    """Slices, undersampled.

    Each sample has conditions ``kspace`` (complex64 [1, H, W], zero where not measured) and ``mask`` (float32
    [1, H, 1], [1, 1, W] or [1, H, W]). Deterministic samples are kept in memory as far as the budget goes.

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
        views: Sequence[str],
        stored: bool,
        memory: Memory,
        name: str,
    ) -> None:
        self._slices = slices
        self._undersampling = undersampling
        self._views = tuple(views)
        self._stored = stored
        self._memory = memory
        self._name = name
        self.varies = bool(views) or not (stored or undersampling.mask.fixed)

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Volume and slice of every sample."""
        return self._slices.keys

    def view(self, index: int, seed: int | None) -> Sample:
        """Return sample ``index`` as seen with ``seed``.

        Raises:
            UserError: the slice cannot be used, or the mask does not fit it.
        """
        if seed is not None and self.varies:
            return self._random(index, seed % 2**63)
        kept: Sample | None = self._memory.get((self._name, "sample", index))
        if kept is None:
            kept = self._deterministic(index)
            size = sum(t.numel() * t.element_size() for t in (kept.input, kept.conditions["kspace"]))
            self._memory.keep((self._name, "sample", index), kept, size)
        # The parts are shared with what is kept, the dictionary is not: a caller may add to it.
        return Sample(kept.input, kept.target, dict(kept.conditions), kept.key)

    def _deterministic(self, index: int) -> Sample:
        found = self._slices[index]
        if found.kspace is not None and (self._stored or found.image is None):
            return self._undersampling.stored(found, self.keys[index])
        return self._simulate(_image(found), found, index, (index,))

    def _random(self, index: int, seed: int) -> Sample:
        random = np.random.default_rng([index, seed])
        found = self._slices[index]
        image = look(_image(found), self._views, random, self._other)
        return self._simulate(image, found, index, (index, seed))

    def _simulate(self, image: Tensor, found: Slice, index: int, draw: Sequence[int]) -> Sample:
        try:
            return self._undersampling.simulate(image, self.keys[index], draw)
        except UserError as error:
            raise UserError(f"{found.where}: {error}") from None

    def _other(self, random: np.random.Generator) -> Tensor:
        return _image(self._slices[int(random.integers(len(self)))])


def _image(found: Slice) -> Tensor:
    if found.image is None:
        raise UserError(f"{found.where}: there is no fully sampled image to make a random view of")
    return found.image
