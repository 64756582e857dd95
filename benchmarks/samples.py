"""Training slices in memory: smooth random images, undersampled 4x along rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from i2ikd_mri.slices import Slice
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
    """Samples that are simulated before any timing."""

    def __init__(self, count: int, size: int) -> None:
        undersampling = Undersampling(create("mask", "variable-density"), "real", centered=False, own_mask=False)
        self._samples = [
            undersampling.simulate(image, Slice(image, None, None, str(_key(i))), _key(i), (i,))
            for i, image in enumerate(images(count, size))
        ]

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys with ten slices per volume."""
        return [sample.key for sample in self._samples]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return sample ``index``; the seed has no effect, because no augmentation is random."""
        return self._samples[index]


def _key(index: int) -> SampleKey:
    return SampleKey(volume=f"volume-{index // _SLICES_A_VOLUME}", index=index % _SLICES_A_VOLUME)


class MemoryTask(Task):
    """Reconstruction of slices in memory, with an L1 loss."""

    def __init__(self, setting: Setting) -> None:
        self._samples = MemorySamples(setting.samples, setting.size)

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> MemorySamples:
        """Return the same samples for every split."""
        return self._samples

    def identity(self) -> dict[str, Any]:
        """Return an empty identity: no benchmark is stored."""
        return {}
