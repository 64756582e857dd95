"""Task ``mri-sr``: restore fully sampled MRI slices from low-resolution ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from i2ikd_mri.references import DatasetRef
from i2ikd_mri.single_file import open_file
from i2ikd_mri.slice_task import SliceTask
from i2ikd_mri.slices import Slices
from pydantic import Field, PositiveInt
from torch import Tensor

from i2ikd import (
    Batch,
    BoundedCache,
    Preparation,
    Reference,
    Registry,
    SampleDataset,
    SampleKey,
    UserError,
    VolumeSource,
)
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.low_resolution import LowResolution
from i2ikd_mri_sr.samples import LowResolutionSamples, SuperResolutionSamples


class MriSuperResolution(SliceTask):
    """Super-resolution of magnitude slices, as in KD-MRI: k-space outside its central part is set to 0.

    Args:
        dataset: name of a registered dataset, with its options; a table without a name configures ``folder``.
        factor: ratio of the size of the target to that of the low-resolution image, along both axes, above 1; 4 if
            neither ``factor`` nor ``keep`` is set.
        keep: instead of a factor, (height, width) of the kept part of k-space: [64, 64] of 256x256 is a factor of 4.
        combine: ``magnitude``: k-space is simulated from the magnitude of a slice; ``complex``: from a complex slice,
            and the magnitude is computed at low resolution.
        grid: input of the networks: ``target``: the zero-filled image, of the size of the target; ``low``: the
            low-resolution image [1, h, w], which the networks enlarge.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        memory_mib: limit of the slices and samples cached in memory, in MiB; later epochs read no file within it.
        unlabelled: a further dataset, whose training volumes are samples without a target.
        registry: contains the dataset and its readers; ``None``: the default registry of the process.

    Raises:
        UserError: both ``factor`` and ``keep`` are set, or the dataset cannot be created.
    """

    name = "mri-sr"
    tileable = True

    def __init__(
        self,
        dataset: DatasetRef = Reference(name="folder"),  # noqa: B008 (frozen)
        factor: Annotated[float, Field(gt=1)] | None = None,
        keep: tuple[PositiveInt, PositiveInt] | None = None,
        combine: Literal["magnitude", "complex"] = "magnitude",
        grid: Literal["target", "low"] = "target",
        loss: Literal["l1", "mse"] = "l1",
        memory_mib: Annotated[float, Field(ge=0)] = 2048,
        unlabelled: DatasetRef | None = None,
        registry: Registry | None = None,
    ) -> None:
        mode: Literal["real", "complex"] = "real" if combine == "magnitude" else "complex"
        super().__init__(dataset, mode, loss, False, memory_mib, registry, unlabelled)
        self._low_resolution = LowResolution(factor, keep, grid)
        self.combine = combine

    def samples(
        self, slices: Slices, augmentations: Sequence[str], memory: BoundedCache[Any], name: str
    ) -> SampleDataset:
        """Return low-resolution images with fully sampled magnitudes as targets; see ``SliceTask.samples``."""
        return SuperResolutionSamples(slices, self._low_resolution, augmentations, memory, name)

    def identity(self) -> dict[str, Any]:
        """Return dataset, loss and options of the low-resolution simulation; part of the digest of a run."""
        simulation = self._low_resolution
        return {
            **super().identity(),
            "factor": simulation.factor,
            "keep": list(simulation.keep) if simulation.keep else None,
            "combine": self.combine,
            "grid": simulation.grid,
        }

    def preparation(self) -> Preparation:
        """Return how low-resolution slices are enlarged, or simulated from fully sampled ones."""
        simulation = self._low_resolution
        options = {
            "kind": "low-resolution",
            "factor": simulation.factor,
            "keep": None if simulation.keep is None else list(simulation.keep),
            "grid": simulation.grid,
            "combine": self.combine,
            **self.file_options(),
        }
        return Preparation("i2ikd_mri.preparation", options, script="i2ikd_mri:preparation.js")

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the zero-filled image and the bicubic enlargement of the low-resolution image, on either grid.

        The one that cannot be computed from the input is computed from the fully sampled slice, and omitted for batches
        without targets.

        Args:
            batch: samples of one split, without augmentation.

        Returns:
            Images [B, 1, H, W] by row name: ``zero-filled``, ``bicubic``.

        Raises:
            UserError: the samples are complex and augmented, so that their slices are not available.
        """
        simulation, size = self._low_resolution, (batch.target.shape[-2], batch.target.shape[-1])
        images = self._fully_sampled(batch) if batch.target.any() else None
        if simulation.grid == "target":
            rows = {"zero-filled": batch.input}
            return rows if images is None else {**rows, "bicubic": enlarge(simulation.low(images), size)}
        rows = {"bicubic": enlarge(batch.input, size)}
        return rows if images is None else {"zero-filled": simulation.zero_filled(images), **rows}

    def describe(self) -> dict[str, str]:
        """Return dataset, size and kept k-space of the first test slice, factor and grid, for the head of a table."""
        target = self.dataset("test")[0].target
        assert target is not None, "a test slice has a target"
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

    def sample_from_file(self, path: Path, simulate: bool = False) -> SampleDataset:
        """Open one file for inference; slices that are all zero are accepted.

        Args:
            path: the file, or a folder of images that are the slices of one volume.
            simulate: whether the slices are fully sampled and their resolution is lowered, as in evaluation. Otherwise
                they are low-resolution slices, which are enlarged by ``factor`` (with ``keep``: by the ratio of the
                dataset's ``size`` to it); ``size`` is not applied to them.

        Raises:
            UserError: the file cannot be read, or ``keep`` is set without a ``size``.
        """
        if simulate:
            return super().sample_from_file(path, simulate)
        options = {name: value for name, value in self._dataset.options.items() if name != "size"}
        memory = BoundedCache[Any](0, policy="refuse")
        source: VolumeSource = self._registry.create("dataset", self._dataset.name, options)
        slices = Slices([open_file(source, path, self._registry)], self.mode, False, memory, "file", empty=True)
        size = self._dataset.options.get("size")
        return LowResolutionSamples(slices, self._low_resolution, memory, None if size is None else tuple(size))

    @property
    def complex_results(self) -> bool:
        """Whether results are complex images: never, they are magnitudes."""
        return False

    def _fully_sampled(self, batch: Batch) -> Tensor:
        """Return the fully sampled images of a batch: its targets, or the complex slices of these magnitudes."""
        if self.combine == "magnitude":
            return batch.target
        return torch.stack([self._complex_slice(key, target) for key, target in zip(batch.keys, batch.target)])

    def _complex_slice(self, key: SampleKey, target: Tensor) -> Tensor:
        """Return the complex slice [1, H, W] whose magnitude is ``target``."""
        for slices in self._splits.values():
            if key in slices.keys:
                image = slices[slices.keys.index(key)].image
                if image is not None and torch.equal(image[None].abs(), target):
                    return image[None]
        raise UserError(
            f"{key.volume}, slice {key.index}: its complex slice is not available to simulate the baselines; compute "
            "baselines of samples of the task's splits, without augmentations"
        )
