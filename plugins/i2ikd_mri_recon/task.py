"""The task: reconstruct fully sampled MRI slices from undersampled single-coil k-space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from i2ikd_mri.masks import Mask, measured_acceleration
from i2ikd_mri.memory import Memory
from i2ikd_mri.single_file import open_file, write_volume
from i2ikd_mri.slices import Slices
from i2ikd_mri.views import VIEWS
from pydantic import BeforeValidator, Field
from torch import Tensor

from i2ikd import Batch, Reference, SampleDataset, Task, UserError, VolumeSource, create
from i2ikd_mri_recon.samples import ReconSamples
from i2ikd_mri_recon.undersampling import Undersampling


def _named(value: Any, default: str) -> Any:
    """``"x"`` is ``{name = "x"}``, and a table without a name is the default with these options."""
    if isinstance(value, str):
        return {"name": value}
    return {"name": default, **value} if isinstance(value, Mapping) else value


DatasetRef = Annotated[Reference, BeforeValidator(partial(_named, default="folder"))]
MaskRef = Annotated[Reference, BeforeValidator(partial(_named, default="variable-density"))]


class MriRecon(Task):
    """Reconstruction of single-coil Cartesian MRI.

    Args:
        dataset: a registered dataset by name (``folder`` when none is given), with its options.
        mask: a registered mask by name (``variable-density`` when none is given), with its options.
        mode: ``real``: images have one channel; magnitudes of complex data are taken, and the k-space is simulated
            from them. ``complex``: real and imaginary channels. The network needs the same mode.
        centered: where zero frequency is in k-space and mask: index 0, or the middle. The network needs the same.
        loss: ``l1`` or ``mse``.
        stored: take the undersampled pair that a file stores (``kspace``, ``undersampled``) where there is one. Its
            mask is the mask ``file`` if that is given, otherwise where the stored k-space is not zero.
        memory_mb: how much of slices and samples is kept in memory, so that later epochs read no file.
    """

    views: ClassVar[frozenset[str]] = frozenset(VIEWS)

    def __init__(
        self,
        dataset: DatasetRef = Reference(name="folder"),  # noqa: B008 (frozen)
        mask: MaskRef = Reference(name="variable-density"),  # noqa: B008 (frozen)
        mode: Literal["real", "complex"] = "real",
        centered: bool = False,
        loss: Literal["l1", "mse"] = "l1",
        stored: bool = False,
        memory_mb: Annotated[float, Field(ge=0)] = 2048,
    ) -> None:
        self._dataset = Reference.model_validate(_named(dataset, "folder"))
        self._mask = Reference.model_validate(_named(mask, "variable-density"))
        self._source: VolumeSource = create("dataset", self._dataset.name, **self._dataset.options)
        kind: Mask = create("mask", self._mask.name, **self._mask.options)
        self._undersampling = Undersampling(kind, mode, centered, own_mask=self._mask.name == "file")
        self.mode = mode
        self.centered = centered
        self.criterion = loss
        self.stored = stored
        self._memory = Memory(memory_mb)
        self._splits: dict[str, Slices] = {}

    def dataset(self, split: str, views: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Raises:
            UserError: an unknown view, or views of stored pairs, which cannot be mirrored or moved.
        """
        unknown = [name for name in views if name not in VIEWS]
        if unknown:
            raise UserError(f"mri-recon has no view {unknown[0]!r}; it has {', '.join(sorted(VIEWS))}")
        if views and self.stored:
            raise UserError("random views need simulated k-space: leave the views out, or set task.stored = false")
        if split not in self._splits:
            volumes = self._source.volumes(split)
            self._splits[split] = Slices(volumes, self.mode, self.stored, self._memory, split)
        return ReconSamples(self._splits[split], self._undersampling, views, self.stored, self._memory, split)

    def identity(self) -> dict[str, Any]:
        """Dataset, mask, mode, centring, loss and whether stored pairs are taken."""
        return {
            "task": "mri-recon",
            "dataset": {"name": self._dataset.name, **self._source.identity()},
            "mask": self._undersampling.mask.identity(),
            "mode": self.mode,
            "centered": self.centered,
            "loss": self.criterion,
            "stored": self.stored,
        }

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean absolute or mean squared difference."""
        function = torch.nn.functional.l1_loss if self.criterion == "l1" else torch.nn.functional.mse_loss
        return function(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """The zero-filled image."""
        return {"zero-filled": batch.input}

    def view(self, image: Tensor) -> np.ndarray:
        """Return the magnitude [H, W], float32, in either mode."""
        return torch.linalg.vector_norm(image.detach().float(), dim=0).cpu().numpy()

    def describe(self) -> dict[str, str]:
        """Dataset, size of the first test slice, its measured acceleration and the mask."""
        sample = self.dataset("test")[0]
        mask = sample.conditions["mask"]
        return {
            "dataset": self._dataset.name,
            "size": " x ".join(str(n) for n in sample.target.shape[-2:]),
            "mask": "stored" if self.stored and self._mask.name != "file" else self._mask.name,
            "measured acceleration": f"{measured_acceleration(mask):.2f}",
            "mode": self.mode,
        }

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open one file, fully sampled (its k-space is simulated) or with stored undersampled k-space.

        Nothing of it is kept in memory, and slices that are all zero are taken.

        Raises:
            UserError: the file cannot be read.
        """
        memory = Memory(0)
        slices = Slices([open_file(self._source, path)], self.mode, self.stored, memory, "file", empty=True)
        return ReconSamples(slices, self._undersampling, (), self.stored, memory, "file")

    def write(self, outputs: Sequence[Tensor], source: Path, path: Path) -> None:
        """Write magnitudes to HDF5 (``reconstruction`` [H, W, slices]), NIfTI, or a folder of PNGs.

        Raises:
            UserError: an ending that is none of these.
        """
        volume = np.stack([self.view(output) for output in outputs], -1)
        write_volume(volume, path, open_file(self._source, source))
