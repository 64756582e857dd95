"""The samples of one split of a task on slices: made once and kept, or seen in random views."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from i2ikd import Sample, SampleDataset, SampleKey, UserError
from i2ikd_mri.augmentations import augment
from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slices import Slice, Slices


class SliceSamples(SampleDataset):
    """Slices as samples. Deterministic samples are kept in memory as far as the budget goes.

    Args:
        slices: where the images come from.
        augmentations: random views of the image, made before anything else.
        memory: the budget.
        name: what tells this split from others in ``memory``.
    """

    def __init__(self, slices: Slices, augmentations: Sequence[str], memory: SliceCache, name: str) -> None:
        self._slices = slices
        self._augmentations = tuple(augmentations)
        self._memory = memory
        self._name = name
        self.varies = bool(augmentations)

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Subject, volume and slice of every sample."""
        return self._slices.keys

    @abstractmethod
    def simulate(self, image: Tensor, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Make a sample from a fully sampled image [H, W]; ``draw`` tells random choices apart."""

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Make the deterministic sample of a slice; simulated from its image unless overridden."""
        return self._simulate(self._image(found), found, index, (index,))

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return sample ``index`` as seen with ``seed``.

        Raises:
            UserError: the slice cannot be used; the message names it.
        """
        if seed is not None and self.varies:
            return self._random(index, seed % 2**63)
        kept: Sample | None = self._memory.get((self._name, "sample", index))
        if kept is None:
            found = self._slices[index]
            kept = self.from_slice(found, index)
            self._memory.keep((self._name, "sample", index), kept, _extra_bytes(kept, found))
        # The parts are shared with what is kept, the dictionary is not: a caller may add to it.
        return Sample(kept.input, kept.target, dict(kept.conditions), kept.key)

    def _random(self, index: int, seed: int) -> Sample:
        random = np.random.default_rng([index, seed])
        found = self._slices[index]
        image = augment(self._image(found), self._augmentations, random, self._other)
        return self._simulate(image, found, index, (index, seed))

    def _simulate(self, image: Tensor, found: Slice, index: int, draw: Sequence[int]) -> Sample:
        try:
            return self.simulate(image, self.keys[index], draw)
        except UserError as error:
            raise UserError(f"{found.where}: {error}") from None

    def _other(self, random: np.random.Generator) -> Tensor:
        return self._image(self._slices[int(random.integers(len(self)))])

    def _image(self, found: Slice) -> Tensor:
        if found.image is None:
            raise UserError(f"{found.where}: there is no fully sampled image to make a sample from")
        return found.image


def _extra_bytes(sample: Sample, found: Slice) -> int:
    """Bytes that keeping a sample costs beyond those of its slice, which some of its tensors are views of."""
    known = {_storage(field) for field in (found.image, found.kspace, found.undersampled) if field is not None}
    tensors = [t for t in (sample.input, sample.target, *sample.conditions.values()) if t is not None]
    return sum(t.numel() * t.element_size() for t in tensors if _storage(t) not in known)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
