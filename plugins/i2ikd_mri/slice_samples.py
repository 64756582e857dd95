"""Samples of one split of a task on slices: deterministic and cached, or randomly augmented."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic

import numpy as np
from torch import Tensor

from i2ikd import BoundedCache, Sample, SampleDataset, SampleKey, UserError
from i2ikd_mri.augmentations import augment
from i2ikd_mri.slices import OneSlice, Slice, Slices, StoredSlice, VolumeSlices

_FEW = 3
"""Number of sizes that a statement names."""


class VolumeSamples(SampleDataset, Generic[OneSlice]):
    """Samples of slices. Deterministic samples are cached within the limit of ``memory``.

    Args:
        slices: the slices.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
    """

    def __init__(self, slices: VolumeSlices[OneSlice], memory: BoundedCache[Any], name: str) -> None:
        self._slices = slices
        self._memory = memory
        self._name = name

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Subject, volume and slice index of every sample."""
        return self._slices.keys

    @property
    def shapes(self) -> Sequence[str] | None:
        """Description of the shape of every sample's slice; see ``VolumeSlices.shapes``."""
        return self._slices.shapes

    @property
    def simulated(self) -> Sequence[str]:
        """The resampling of images, and what is simulated from the first one."""
        if not len(self):
            return ()
        found = self._slices[0]
        statements = list(self.simulated_from(found))
        if stored := self._slices.resampled_from:
            sizes = ", ".join(f"{height} x {width}" for height, width in stored[:_FEW]) + ", ..." * (len(stored) > _FEW)
            statements.insert(0, f"images of {found.shape[0]} x {found.shape[1]}, resampled from {sizes}")
        return statements

    @abstractmethod
    def simulated_from(self, found: OneSlice) -> Sequence[str]:
        """Return what is simulated from a slice, one statement each.

        Args:
            found: the slice, as it is stored or resampled.
        """

    @abstractmethod
    def from_slice(self, found: OneSlice, index: int) -> Sample:
        """Return the deterministic sample of a slice.

        Args:
            found: the slice.
            index: its index in the split.

        Raises:
            UserError: the slice has no such sample.
        """

    @abstractmethod
    def random(self, found: OneSlice, index: int, seed: int) -> Sample:
        """Return a random sample of a slice, if the dataset ``varies``.

        Args:
            found: the slice.
            index: its index in the split.
            seed: augmentation seed, at least 0.

        Raises:
            UserError: the slice has no such sample.
        """

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample.

        Args:
            index: index of the sample in the split.
            seed: augmentation seed; ``None``: the deterministic sample.

        Raises:
            UserError: the slice is invalid; the message names it.
        """
        if seed is not None and self.varies:
            return self.random(self._slices[index], index, seed % 2**63)
        cached: Sample | None = self._memory.get((self._name, "sample", index))
        if cached is None:
            found = self._slices[index]
            cached = self.from_slice(found, index)
            self._memory.put((self._name, "sample", index), cached, _extra_bytes(cached, found))
        # The tensors are shared with the cached sample, the dictionary is not: a caller may add to it.
        return Sample(cached.input, cached.target, dict(cached.conditions), cached.key)


class SliceSamples(VolumeSamples[Slice]):
    """Samples simulated from the images of slices.

    Args:
        slices: the fully sampled slices.
        augmentations: names of the random augmentations, applied to the image before the simulation.
        memory: cache shared by all splits.
        name: prefix of the keys of this split in ``memory``.
    """

    def __init__(self, slices: Slices, augmentations: Sequence[str], memory: BoundedCache[Any], name: str) -> None:
        super().__init__(slices, memory, name)
        self._augmentations = tuple(augmentations)
        self.varies = bool(augmentations)

    @abstractmethod
    def simulate(self, image: Tensor, found: Slice, key: SampleKey, draw: Sequence[int]) -> Sample:
        """Simulate a sample from a fully sampled image.

        Args:
            image: [H, W], real or complex, augmented in training.
            found: the slice of the image, for its stored mask.
            key: volume and slice index of the sample.
            draw: seeds of random choices (sample index, augmentation seed).
        """

    def from_slice(self, found: Slice, index: int) -> Sample:
        """Return the sample simulated from the image of a slice; see ``VolumeSamples``."""
        return self._simulate(self._image(found), found, index, (index,))

    def random(self, found: Slice, index: int, seed: int) -> Sample:
        """Return the sample simulated from the augmented image of a slice; see ``VolumeSamples``."""
        random = np.random.default_rng([index, seed])
        image = augment(self._image(found), self._augmentations, random, self._other)
        return self._simulate(image, found, index, (index, seed))

    def _simulate(self, image: Tensor, found: Slice, index: int, draw: Sequence[int]) -> Sample:
        try:
            return self.simulate(image, found, self.keys[index], draw)
        except UserError as error:
            raise UserError(f"{found.where}: {error}") from None

    def _other(self, random: np.random.Generator) -> Tensor:
        return self._image(self._slices[int(random.integers(len(self)))])

    def _image(self, found: Slice) -> Tensor:
        if found.image is None:
            raise UserError(f"{found.where}: expected a fully sampled image to simulate a sample from, got none")
        return found.image


class WithoutTargets(SampleDataset):
    """Samples of a dataset without their targets.

    Args:
        samples: the dataset.
    """

    def __init__(self, samples: SampleDataset) -> None:
        self._samples = samples
        self.varies = samples.varies

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of the samples."""
        return self._samples.keys

    @property
    def shapes(self) -> Sequence[str] | None:
        """Shapes of the samples."""
        return self._samples.shapes

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample whose target is ``None``."""
        found = self._samples.sample(index, seed)
        return Sample(found.input, None, found.conditions, found.key)


def _extra_bytes(sample: Sample, found: StoredSlice) -> int:
    """Return the bytes of a sample that are not shared with its slice, of which some tensors are views."""
    shared = {_storage(field) for field in found.tensors}
    tensors = [t for t in (sample.input, sample.target, *sample.conditions.values()) if t is not None]
    return sum(t.numel() * t.element_size() for t in tensors if _storage(t) not in shared)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
