"""Task ``mri-recon``: reconstruction of fully sampled MRI slices from undersampled single-coil k-space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from i2ikd_mri.fourier import inverse_fourier
from i2ikd_mri.masks import Mask, measured_acceleration
from i2ikd_mri.references import DatasetRef, MaskRef, named
from i2ikd_mri.slice_task import SliceTask
from i2ikd_mri.slices import Slice, Slices
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, BoundedCache, Preparation, Reference, Registry, SampleDataset, UserError
from i2ikd_mri_recon.samples import ReconSamples
from i2ikd_mri_recon.undersampling import Input, Undersampling

_SLICES_WITH_MASKS = 32
"""Number of test slices for whose sizes a bundle has masks."""


class MriRecon(SliceTask):
    """Reconstruction of single-coil Cartesian MRI.

    Args:
        dataset: name of a registered dataset, with its options; a table without a name configures ``folder``.
        mask: name of a registered mask, with its options; a table without a name configures ``variable-density``.
            ``stored``: the mask that the reader returns with each slice.
        mode: ``real``: images have one channel, the magnitude, from which k-space is simulated. ``complex``: images
            have real and imaginary channels. The networks need the same mode.
        centered: position of zero frequency in k-space and mask, along each axis of length n: index 0 (``False``) or
            n // 2 (``True``). The networks need the same centring.
        input: in real mode, the input is the real part of the zero-filled image, from which data consistency starts, or
            its ``magnitude``, as in KD-MRI's code. The k-space is the same.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        stored: use the undersampled pair stored in a file (``kspace``, ``undersampled``) if it exists. Its mask is the
            one stored with it, otherwise the mask ``file`` if set, otherwise the support of the stored k-space. New
            data (``i2ikd infer``) is always taken as it is stored, unless it has no k-space.
        memory_mib: limit of the slices and samples cached in memory, in MiB; later epochs read no file within it.
        unlabelled: a further dataset, whose training volumes are samples without a target.
        registry: contains the dataset, its readers and the mask; ``None``: the default registry of the process.
    """

    name = "mri-recon"

    def __init__(
        self,
        dataset: DatasetRef = Reference(name="folder"),  # noqa: B008 (frozen)
        mask: MaskRef = Reference(name="variable-density"),  # noqa: B008 (frozen)
        mode: Literal["real", "complex"] = "real",
        centered: bool = False,
        input: Input = "real",
        loss: Literal["l1", "mse"] = "l1",
        stored: bool = False,
        memory_mib: Annotated[float, Field(ge=0)] = 2048,
        unlabelled: DatasetRef | None = None,
        registry: Registry | None = None,
    ) -> None:
        super().__init__(dataset, mode, loss, stored, memory_mib, registry, unlabelled)
        self._mask = Reference.model_validate(named(mask, "variable-density"))
        kind: Mask = self._registry.create("mask", self._mask.name, self._mask.options)
        self._undersampling = Undersampling(kind, mode, centered, self._mask.name == "file", input)
        self.centered = centered
        self.input = input

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            augmentations: names of ``AUGMENTATIONS``.

        Raises:
            UserError: the augmentation or the split does not exist, or stored pairs would have to be augmented.
        """
        if augmentations and self.stored:
            raise UserError(
                "augmentations need simulated k-space; remove training.augmentations, or set task.stored = false"
            )
        return super().dataset(split, augmentations)

    def samples(
        self, slices: Slices, augmentations: Sequence[str], memory: BoundedCache[Any], name: str
    ) -> SampleDataset:
        """Return undersampled slices, simulated or stored; see ``SliceTask.samples``."""
        return self._recon_samples(slices, augmentations, self.stored, memory, name)

    def file_samples(self, slices: Slices, simulate: bool, memory: BoundedCache[Any]) -> SampleDataset:
        """Return the samples of one file: measured from its k-space, or simulated; see ``SliceTask.file_samples``."""
        return self._recon_samples(slices, (), not simulate, memory, "file")

    def _recon_samples(
        self, slices: Slices, augmentations: Sequence[str], stored: bool, memory: BoundedCache[Any], name: str
    ) -> SampleDataset:
        return ReconSamples(slices, self._undersampling, augmentations, stored, memory, name, self._mask.name)

    def identity(self) -> dict[str, Any]:
        """Return dataset, mask, mode, input, centring, loss and use of stored pairs; part of the digest of a run."""
        return {
            **super().identity(),
            "mask": self._undersampling.mask.identity(),
            "mode": self.mode,
            "input": self.input,
            "centered": self.centered,
            "stored": self.stored,
        }

    def network_options(self) -> dict[str, Any]:
        """Channels and centring, which networks with data consistency need too."""
        return {"mode": self.mode, "centered": self.centered}

    def preparation(self) -> Preparation:
        """Return how slices are undersampled, with the fixed mask of each size among test slices."""
        return Preparation(
            "i2ikd_mri.preparation",
            {
                "kind": "undersampled",
                "mode": self.mode,
                "centered": self.centered,
                "input": self.input,
                **self.file_options(),
            },
            self._undersampling.masks_of(found.shape for found in self._few_test_slices()),
            script="i2ikd_mri:preparation.js",
        )

    def _few_test_slices(self) -> Iterator[Slice]:
        self.dataset("test")
        slices = self._splits["test"]
        step = max(1, len(slices) // _SLICES_WITH_MASKS)
        yield from (slices[index] for index in range(0, len(slices), step))

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the zero-filled image [B, C, H, W]: in real mode its magnitude, for either ``input``."""
        if self.mode == "complex":
            return {"zero-filled": batch.input}
        return {"zero-filled": inverse_fourier(batch.conditions["kspace"], self.centered).abs()}

    def describe(self) -> dict[str, str]:
        """Return dataset, size, mask, measured acceleration, mode and input, for the head of a table."""
        mask = self.dataset("test")[0].conditions["mask"]
        return {
            **super().describe(),
            "mask": "stored" if self.stored and self._mask.name != "file" else self._mask.name,
            "measured acceleration": f"{measured_acceleration(mask):.2f}",
            "mode": self.mode,
            **({"input": self.input} if self.mode == "real" else {}),
        }
