"""The task: reconstruct fully sampled MRI slices from undersampled single-coil k-space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from i2ikd_mri.fourier import inverse_fourier
from i2ikd_mri.masks import Mask, measured_acceleration
from i2ikd_mri.references import DatasetRef, MaskRef, named
from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slice_task import SliceTask
from i2ikd_mri.slices import Slices
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, Reference, SampleDataset, UserError, create
from i2ikd_mri_recon.samples import ReconSamples
from i2ikd_mri_recon.undersampling import Input, Undersampling


class MriRecon(SliceTask):
    """Reconstruction of single-coil Cartesian MRI.

    Args:
        dataset: a registered dataset by name (``folder`` when none is given), with its options.
        mask: a registered mask by name (``variable-density`` when none is given), with its options.
        mode: ``real``: images have one channel; magnitudes of complex data are taken, and the k-space is simulated
            from them. ``complex``: real and imaginary channels. The network needs the same mode.
        centered: where zero frequency is in k-space and mask: index 0, or the middle. The network needs the same.
        input: in real mode, the input is the real part of the zero-filled image, which is where data consistency
            starts from, or its ``magnitude``, as KD-MRI's code has it. The k-space is the same.
        loss: ``l1`` or ``mse``.
        stored: take the undersampled pair that a file stores (``kspace``, ``undersampled``) where there is one. Its
            mask is the mask ``file`` if that is given, otherwise where the stored k-space is not zero.
        memory_mb: how much of slices and samples is kept in memory, so that later epochs read no file.
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
        memory_mb: Annotated[float, Field(ge=0)] = 2048,
    ) -> None:
        super().__init__(dataset, mode, loss, stored, memory_mb)
        self._mask = Reference.model_validate(named(mask, "variable-density"))
        kind: Mask = create("mask", self._mask.name, **self._mask.options)
        self._undersampling = Undersampling(kind, mode, centered, self._mask.name == "file", input)
        self.centered = centered
        self.input = input

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Raises:
            UserError: an unknown view or split, or views of stored pairs, which cannot be mirrored or moved.
        """
        if augmentations and self.stored:
            raise UserError("random views need simulated k-space: leave the views out, or set task.stored = false")
        return super().dataset(split, augmentations)

    def samples(self, slices: Slices, augmentations: Sequence[str], memory: SliceCache, name: str) -> SampleDataset:
        """Return undersampled slices: simulated, or as new data stores them."""
        return ReconSamples(slices, self._undersampling, augmentations, self.stored, memory, name)

    def identity(self) -> dict[str, Any]:
        """Dataset, mask, mode, input, centring, loss and whether stored pairs are taken."""
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

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """The zero-filled image: in real mode its magnitude, whatever the input; in complex mode both channels."""
        if self.mode == "complex":
            return {"zero-filled": batch.input}
        return {"zero-filled": inverse_fourier(batch.conditions["kspace"], self.centered).abs()}

    def describe(self) -> dict[str, str]:
        """Dataset, size of the first test slice, its measured acceleration, the mask, mode and input."""
        mask = self.dataset("test")[0].conditions["mask"]
        return {
            **super().describe(),
            "mask": "stored" if self.stored and self._mask.name != "file" else self._mask.name,
            "measured acceleration": f"{measured_acceleration(mask):.2f}",
            "mode": self.mode,
            **({"input": self.input} if self.mode == "real" else {}),
        }
