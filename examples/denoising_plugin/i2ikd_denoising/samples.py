"""Samples: a noisy crop and the clean one, with the noise level as a condition."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from i2ikd import Sample, SampleDataset, SampleKey, UserError, Volume


class NoisyCrops(SampleDataset):
    """Slices of volumes with noise added. What is drawn is a function of the slice and of the view's seed.

    Args:
        volumes: whose slices are taken.
        noise: standard deviation of the noise.
        augmentations: ``noise`` draws other noise for every seed, ``flip`` mirrors and turns.
    """

    def __init__(self, volumes: Sequence[Volume], noise: float, augmentations: Sequence[str] = ()) -> None:
        self._places = [(volume, index) for volume in volumes for index in range(len(volume))]
        self._noise = noise
        self._augmentations = frozenset(augmentations)
        self.varies = bool(augmentations)

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Photograph and crop."""
        return [SampleKey.of(volume, index) for volume, index in self._places]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return one crop, noisy and clean."""
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
    """A photograph that is noisy already; the clean one is not known."""

    def __init__(self, volume: Volume, noise: float) -> None:
        self._volume = volume
        self._noise = noise

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Its slices."""
        return [SampleKey.of(self._volume, index) for index in range(len(self._volume))]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return the photograph as it is, with a target of zeros."""
        image = np.asarray(self._volume[index]["image"], np.float32)
        return sample(image, np.zeros_like(image), self._noise, self.keys[index])


def sample(noisy: np.ndarray, clean: np.ndarray, noise: float, key: SampleKey) -> Sample:
    """Put images [H, W] together with the noise level, which is a condition [1, H, W].

    Raises:
        UserError: an image that is not finite.
    """
    if not np.isfinite(noisy).all():
        raise UserError(f"{key.volume}, slice {key.index}: it holds values that are not finite")
    level = torch.full((1, *noisy.shape), noise)
    return Sample(_channel(noisy), _channel(clean), {"noise_level": level}, key)


def _channel(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None]


def _mirrored(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn by a half and mirror, each at random; the shape stays."""
    if random.random() < 0.5:
        image = image[::-1, ::-1]
    return image[:, ::-1] if random.random() < 0.5 else image
