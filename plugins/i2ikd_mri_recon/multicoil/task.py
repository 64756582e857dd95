"""Task ``mri-multicoil``: reconstruction of images from undersampled multi-coil k-space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from i2ikd_mri.coils.maps import CoilMaps
from i2ikd_mri.coils.operator import combine, root_sum_of_squares
from i2ikd_mri.coils.slices import CoilSlices
from i2ikd_mri.fourier import inverse_fourier, to_channels
from i2ikd_mri.masks import Mask, measured_acceleration
from i2ikd_mri.references import CoilMapsRef, DatasetRef, FastMriMaskRef, named
from i2ikd_mri.slice_task import SliceTask
from pydantic import Field, PositiveInt
from torch import Tensor

from i2ikd import Batch, BoundedCache, Reference, Registry, SampleDataset, Volume
from i2ikd_mri_recon.multicoil.acquisition import Acquisition, Target
from i2ikd_mri_recon.multicoil.crop import cropped
from i2ikd_mri_recon.multicoil.samples import CoilSamples


class MriMulticoil(SliceTask):
    """Reconstruction of multi-coil Cartesian MRI.

    Fully sampled k-space is undersampled by the mask. Undersampled k-space is used as it is: for training without
    target, and for inference. Volumes are scaled by the brightness of their measured centre, which is undone in written
    files. Where k-space has gaps and the file has no mask, its support is the mask.

    Args:
        dataset: name of a registered dataset, with its options; a table without a name configures ``folder``. Its
            volumes have the field ``kspace`` [coils, H, W], and may have ``mask`` and ``maps``.
        mask: name of a registered mask, with its options; a table without a name configures ``fastmri-random``,
            whose lines are chosen along W as in fastMRI's files.
        maps: name of a registered estimator of coil maps, with its options; a table without a name configures
            ``low-resolution``. Maps are estimated from measured samples alone.
        target: ``sense``: images of the coils, combined with the maps, with real and imaginary channels; ``rss``: root
            sum of squares of the coils, one channel, as in fastMRI.
        crop: ``recon``: images have the reconstruction size of the file, where it states one (fastMRI); ``none``: they
            have the size of k-space.
        compress: most virtual coils, to which k-space is compressed by a singular value decomposition of its measured
            centre; ``None``: no compression.
        centered: position of zero frequency in k-space and mask, along each axis of length n: index 0 (``False``) or
            n // 2 (``True``, as scanners store it). The networks get it from the task.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        memory_mib: limit of the slices and samples cached in memory, in MiB; later epochs read no file within it.
        unlabelled: a further dataset, whose training volumes are samples without a target.
        registry: contains the dataset, its readers, the mask and the coil maps; ``None``: the default registry of the
            process.
    """

    name = "mri-multicoil"
    augmentations: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        dataset: DatasetRef = Reference(name="folder"),  # noqa: B008 (frozen)
        mask: FastMriMaskRef = Reference(name="fastmri-random"),  # noqa: B008 (frozen)
        maps: CoilMapsRef = Reference(name="low-resolution"),  # noqa: B008 (frozen)
        target: Target = "sense",
        crop: Literal["recon", "none"] = "recon",
        compress: PositiveInt | None = None,
        centered: bool = True,
        loss: Literal["l1", "mse"] = "l1",
        memory_mib: Annotated[float, Field(ge=0)] = 2048,
        unlabelled: DatasetRef | None = None,
        registry: Registry | None = None,
    ) -> None:
        super().__init__(
            dataset, "complex" if target == "sense" else "real", loss, True, memory_mib, registry, unlabelled
        )
        self._mask = Reference.model_validate(named(mask, "fastmri-random"))
        self._maps = Reference.model_validate(named(maps, "low-resolution"))
        kind: Mask = self._registry.create("mask", self._mask.name, self._mask.options)
        estimator: CoilMaps = self._registry.create("coil_map", self._maps.name, self._maps.options)
        self._acquisition = Acquisition(kind, estimator, target, centered, crop == "recon", compress)
        self.target = target
        self.crop = crop
        self.compress = compress
        self.centered = centered

    def slices(
        self, volumes: Sequence[Volume], memory: BoundedCache[Any], name: str, stored: bool, empty: bool = False
    ) -> CoilSlices:
        """Return slices of multi-coil k-space; see ``SliceTask.slices``."""
        return CoilSlices(volumes, memory, name, empty)

    def samples(
        self, slices: CoilSlices, augmentations: Sequence[str], memory: BoundedCache[Any], name: str
    ) -> SampleDataset:
        """Return undersampled slices; see ``SliceTask.samples``."""
        return CoilSamples(slices, self._acquisition, memory, name, self._mask.name)

    def identity(self) -> dict[str, Any]:
        """Return dataset, mask, coil maps and the other options that samples depend on; part of the digest of a run."""
        return {
            **super().identity(),
            "mask": self._acquisition.mask.identity(),
            "maps": self._acquisition.maps.identity(),
            "target": self.target,
            "crop": self.crop,
            "compress": self.compress,
            "centered": self.centered,
        }

    def network_options(self) -> dict[str, Any]:
        """Channels of images, centring, and that k-space has several coils."""
        return {"mode": self.mode, "centered": self.centered, "multicoil": True}

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the zero-filled images of the shape of the target: combined with the maps, and root sum of squares.

        With the target ``sense`` the root sum of squares is the real channel, and the imaginary one is 0.
        """
        kspace, maps = batch.conditions["kspace"], batch.conditions["maps"]
        images = inverse_fourier(kspace, self.centered)
        size = (batch.input.shape[-2], batch.input.shape[-1])
        sense, rss = (cropped(image, size) for image in (combine(images, maps), root_sum_of_squares(images)))
        if self.mode == "real":
            return {"zero-filled-sense": sense.abs(), "zero-filled-rss": rss}
        channels = torch.cat([rss, torch.zeros_like(rss)], 1)
        return {"zero-filled-sense": to_channels(sense[:, 0]), "zero-filled-rss": channels}

    def describe(self) -> dict[str, str]:
        """Return dataset, size, coils, coil maps, target, mask and measured acceleration, for the head of a table."""
        conditions = self.dataset("test")[0].conditions
        virtual = "" if self.compress is None else f" (at most {self.compress} virtual)"
        return {
            **super().describe(),
            "coils": f"{len(conditions['maps'])}{virtual}",
            "coil maps": self._maps.name,
            "target": self.target,
            "mask": self._mask.name,
            "measured acceleration": f"{measured_acceleration(conditions['mask']):.2f}",
        }
