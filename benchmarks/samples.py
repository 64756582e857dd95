"""Slices in memory for the loops to learn from: smooth random images, undersampled 4x by rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from i2ikd_mri_recon.undersampling import Undersampling

from benchmarks.setting import Setting
from i2ikd import Sample, SampleDataset, SampleKey, Task, create

_SLICES_A_VOLUME = 10


def images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return [count, size, size] float32 in 0..1, smooth on the scale of an eighth of the image."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, max(4, size // 8), max(4, size // 8), generator=random)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", antialias=False)[:, 0].clamp(0, 1)
    return fine / fine.amax((1, 2), keepdim=True)


class MemorySamples(SampleDataset):
    """Samples that were made before anything is timed."""

    def __init__(self, count: int, size: int) -> None:
        undersampling = Undersampling(create("mask", "variable-density"), "real", centered=False, own_mask=False)
        self._samples = [
            undersampling.simulate(image, SampleKey(f"volume-{i // _SLICES_A_VOLUME}", i % _SLICES_A_VOLUME), (i,))
            for i, image in enumerate(images(count, size))
        ]

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Ten slices a volume."""
        return [sample.key for sample in self._samples]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample; there are no random views."""
        return self._samples[index]


class MemoryTask(Task):
    """Reconstruct the slices in memory; the loss is L1."""

    def __init__(self, setting: Setting) -> None:
        self._samples = MemorySamples(setting.samples, setting.size)

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> MemorySamples:
        """Return the same samples for every split."""
        return self._samples

    def identity(self) -> dict[str, Any]:
        """Nothing is kept of a benchmark."""
        return {}
