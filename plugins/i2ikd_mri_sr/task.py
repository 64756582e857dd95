"""The task: give MRI slices of low resolution the resolution of fully sampled ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from i2ikd_mri.references import DatasetRef
from i2ikd_mri.single_file import open_file
from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slice_task import SliceTask
from i2ikd_mri.slices import Slices
from i2ikd_mri.volumes import Count
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, Reference, SampleDataset, SampleKey, UserError, create
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.low_resolution import LowResolution
from i2ikd_mri_sr.samples import LowResolutionSamples, SuperResolutionSamples


class MriSuperResolution(SliceTask):
    """Super-resolution of magnitude slices, as in KD-MRI: the central part of k-space is kept, the rest set to zero.

    Args:
        dataset: a registered dataset by name (``folder`` when none is given), with its options.
        factor: how much larger the target is than the low-resolution image, along both axes; 4 when neither this nor
            ``keep`` is given.
        keep: instead of a factor, (height, width) of the part of k-space that is kept: [64, 64] of 256x256 is 4x.
        combine: ``magnitude``: k-space is simulated from the magnitude of a slice; ``complex``: from a complex slice,
            and the magnitude is taken at low resolution.
        grid: ``target``: networks see the zero-filled image, which has the target's size; ``low``: they see the small
            image [1, h, w] and enlarge it themselves.
        loss: ``l1`` or ``mse``.
        files: what a single file (``i2ikd infer``) holds: ``full``: fully sampled slices, whose resolution is lowered;
            ``low``: slices of low resolution, which are enlarged by ``factor``; a ``size`` of the dataset is then not
            applied.
        memory_mb: how much of slices and samples is kept in memory, so that later epochs read no file.
    """

    name = "mri-sr"
    tileable = True

    def __init__(
        self,
        dataset: DatasetRef = Reference(name="folder"),  # noqa: B008 (frozen)
        factor: Annotated[float, Field(gt=1)] | None = None,
        keep: tuple[Count, Count] | None = None,
        combine: Literal["magnitude", "complex"] = "magnitude",
        grid: Literal["target", "low"] = "target",
        loss: Literal["l1", "mse"] = "l1",
        files: Literal["full", "low"] = "full",
        memory_mb: Annotated[float, Field(ge=0)] = 2048,
    ) -> None:
        super().__init__(dataset, "real" if combine == "magnitude" else "complex", loss, False, memory_mb)
        self._low_resolution = LowResolution(factor, keep, grid)
        self.combine = combine
        self.files = files

    def samples(self, slices: Slices, augmentations: Sequence[str], memory: SliceCache, name: str) -> SampleDataset:
        """Return low-resolution images with the fully sampled magnitudes as targets."""
        return SuperResolutionSamples(slices, self._low_resolution, augmentations, memory, name)

    def identity(self) -> dict[str, Any]:
        """Dataset, loss, and how and on which grid the resolution is lowered."""
        made = self._low_resolution
        keep = list(made.keep) if made.keep else None
        return {
            **super().identity(),
            "factor": made.factor,
            "keep": keep,
            "combine": self.combine,
            "grid": made.grid,
        }

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """The zero-filled image, and the bicubic enlargement of the low-resolution one; the same in both grids.

        The one that cannot be had from the input is made from the fully sampled slice, and left out without one.

        Raises:
            UserError: samples of complex data in random views, whose slices are not at hand.
        """
        made, size = self._low_resolution, (batch.target.shape[-2], batch.target.shape[-1])
        images = self._fully_sampled(batch) if batch.target.any() else None
        if made.grid == "target":
            rows = {"zero-filled": batch.input}
            return rows if images is None else {**rows, "bicubic": enlarge(made.low(images), size)}
        rows = {"bicubic": enlarge(batch.input, size)}
        return rows if images is None else {"zero-filled": made.zero_filled(images), **rows}

    def describe(self) -> dict[str, str]:
        """Dataset, size of the first test slice, how much of its k-space is kept, the factor and the grid."""
        target = self.dataset("test")[0].target
        height, width = target.shape[-2:]
        kept = self._low_resolution.kept((height, width))
        factors = list(dict.fromkeys(f"{large / small:.3g}" for large, small in zip((height, width), kept)))
        return {
            **super().describe(),
            "kept k-space": f"{kept[0]} x {kept[1]}",
            "factor": " x ".join(factors),
            "simulated from": self.combine,
            "grid": self._low_resolution.grid,
        }

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open one file as the option ``files`` says; nothing is kept in memory, and all-zero slices are taken.

        Raises:
            UserError: the file cannot be read, or how much to enlarge is not known.
        """
        if self.files == "full":
            return super().sample_from_file(path)
        options = {name: value for name, value in self._dataset.options.items() if name != "size"}
        memory, source = SliceCache(0), create("dataset", self._dataset.name, **options)
        slices = Slices([open_file(source, path)], self.mode, False, memory, "file", empty=True)
        return LowResolutionSamples(slices, self._low_resolution, (), memory, "file")

    def _fully_sampled(self, batch: Batch) -> Tensor:
        """Return what the batch was made from: its targets, or the complex slices that they are magnitudes of."""
        if self.combine == "magnitude":
            return batch.target
        return torch.stack([self._complex_slice(key, target) for key, target in zip(batch.keys, batch.target)])

    def _complex_slice(self, key: SampleKey, target: Tensor) -> Tensor:
        for slices in self._splits.values():
            if key in slices.keys:
                image = slices[slices.keys.index(key)].image
                if image is not None and torch.equal(image[None].abs(), target):
                    return image[None]
        raise UserError(
            f"{key.volume}, slice {key.index}: its complex slice is not at hand, so that the resolution cannot be "
            "lowered; baselines are for samples of the task's own splits, without random views"
        )
