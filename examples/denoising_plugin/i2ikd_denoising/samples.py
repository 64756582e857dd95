"""Samples of a noisy and a clean crop, with the noise level as a condition."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from i2ikd import Sample, SampleDataset, SampleKey, UserError, Volume


class NoisyCrops(SampleDataset):
    """Slices of volumes with added Gaussian noise, a function of the slice and the augmentation seed.

    Args:
        volumes: the volumes of the split.
        noise: standard deviation of the noise.
        augmentations: ``noise`` draws different noise for every seed, ``flip`` mirrors and rotates by 180 degrees.
    """

    def __init__(self, volumes: Sequence[Volume], noise: float, augmentations: Sequence[str] = ()) -> None:
        self._places = [(volume, index) for volume in volumes for index in range(len(volume))]
        self._noise = noise
        self._augmentations = frozenset(augmentations)
        self.varies = bool(augmentations)

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Photograph and index of the crop of every sample."""
        return [SampleKey.of(volume, index) for volume, index in self._places]

    @property
    def simulated(self) -> Sequence[str]:
        """The noise."""
        return (f"Gaussian noise of standard deviation {self._noise:g}, added to the photographs",)

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a crop, noisy and clean; ``seed`` is the augmentation seed, ``None`` the deterministic sample."""
        volume, number = self._places[index]
        slice_seed = [zlib.crc32(volume.name.encode()), number]
        drawn = slice_seed if seed is None or not self.varies else [*slice_seed, seed]
        random = np.random.default_rng(drawn)
        image = np.asarray(volume[number]["image"], np.float32)
        if "flip" in self._augmentations and seed is not None:
            image = _mirrored(image, random)
        if "noise" not in self._augmentations:
            random = np.random.default_rng(slice_seed)
        noisy = image + np.float32(self._noise) * random.standard_normal(image.shape, np.float32)
        return sample(noisy, image, self._noise, SampleKey.of(volume, number))


class NewPhotograph(SampleDataset):
    """Samples of a noisy photograph without a clean target.

    Args:
        volume: the photograph.
        noise: standard deviation of its noise.
    """

    def __init__(self, volume: Volume, noise: float) -> None:
        self._volume = volume
        self._noise = noise

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Name and slice index of every sample."""
        return [SampleKey.of(self._volume, index) for index in range(len(self._volume))]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return the photograph, with a target of zeros; ``seed`` is not used."""
        image = np.asarray(self._volume[index]["image"], np.float32)
        return sample(image, np.zeros_like(image), self._noise, self.keys[index])


def sample(noisy: np.ndarray, clean: np.ndarray, noise: float, key: SampleKey) -> Sample:
    """Build a sample with the noise level as the condition ``noise_level`` [1, H, W].

    Args:
        noisy: [H, W] float32.
        clean: [H, W] float32.
        noise: standard deviation of the noise.
        key: key of the sample.

    Raises:
        UserError: the noisy image has values that are not finite.
    """
    if not np.isfinite(noisy).all():
        raise UserError(f"{key.volume}, slice {key.index}: expected finite values, got NaN or infinity")
    level = torch.full((1, *noisy.shape), noise)
    return Sample(_channel(noisy), _channel(clean), {"noise_level": level}, key)


def _channel(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None]


def _mirrored(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rotate by 180 degrees and mirror, each with probability 1/2; the shape is preserved."""
    if random.random() < 0.5:
        image = image[::-1, ::-1]
    return image[:, ::-1] if random.random() < 0.5 else image
