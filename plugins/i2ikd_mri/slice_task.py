"""What the MRI tasks share: slices of a dataset by split, views, losses, single files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from i2ikd import Reference, SampleDataset, Task, UserError, VolumeSource, create
from i2ikd_mri.augmentations import AUGMENTATIONS
from i2ikd_mri.references import named
from i2ikd_mri.single_file import is_volume, open_file, write_volume
from i2ikd_mri.slice_cache import SliceCache
from i2ikd_mri.slices import Slices


class SliceTask(Task):
    """A task whose samples are made from fully sampled slices.

    Args:
        dataset: a registered dataset by name (``folder`` when none is given), with its options.
        mode: ``real`` takes the magnitude of complex slices, ``complex`` keeps them.
        loss: ``l1`` or ``mse``.
        stored: whether the undersampled pair that a file stores is read.
        memory_mb: how much of slices and samples is kept in memory.
    """

    name: ClassVar[str]
    augmentations: ClassVar[frozenset[str]] = frozenset(AUGMENTATIONS)

    def __init__(
        self,
        dataset: Reference | str | dict[str, Any],
        mode: Literal["real", "complex"],
        loss: Literal["l1", "mse"],
        stored: bool,
        memory_mb: float,
    ) -> None:
        self._dataset = Reference.model_validate(named(dataset, "folder"))
        self._source: VolumeSource = create("dataset", self._dataset.name, **self._dataset.options)
        self.mode = mode
        self.criterion = loss
        self.stored = stored
        self._memory = SliceCache(memory_mb)
        self._splits: dict[str, Slices] = {}

    @abstractmethod
    def samples(self, slices: Slices, augmentations: Sequence[str], memory: SliceCache, name: str) -> SampleDataset:
        """Return samples made from ``slices``, which ``memory`` keeps under ``name``."""

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Raises:
            UserError: an unknown view or split.
        """
        unknown = [name for name in augmentations if name not in AUGMENTATIONS]
        if unknown:
            raise UserError(f"{self.name} has no view {unknown[0]!r}; it has {', '.join(sorted(AUGMENTATIONS))}")
        if split not in self._splits:
            volumes = self._source.volumes(split)
            self._splits[split] = Slices(volumes, self.mode, self.stored, self._memory, split)
        return self.samples(self._splits[split], augmentations, self._memory, split)

    def identity(self) -> dict[str, Any]:
        """Task, dataset and loss."""
        return {
            "task": self.name,
            "dataset": {"name": self._dataset.name, **self._source.identity()},
            "loss": self.criterion,
        }

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean absolute or mean squared difference."""
        function = torch.nn.functional.l1_loss if self.criterion == "l1" else torch.nn.functional.mse_loss
        return function(output, target)

    def to_display(self, image: Tensor) -> np.ndarray:
        """Return the image [H, W], float32: of one channel as it is, of a real and an imaginary one the magnitude.

        A negative value in an image of one channel is an error that the scores must see; KD-MRI scores it so, too.
        """
        if image.shape[0] == 1:
            return image[0].detach().float().cpu().numpy()
        return torch.linalg.vector_norm(image.detach().float(), dim=0).cpu().numpy()

    def describe(self) -> dict[str, str]:
        """Dataset and size of the first test slice."""
        height, width = self.dataset("test")[0].target.shape[-2:]
        return {"dataset": self._dataset.name, "size": f"{height} x {width}"}

    def reads(self, path: Path) -> bool:
        """Whether ``path`` is a file that the dataset's reader knows by name, or a folder of nothing but pictures."""
        return is_volume(self._source, path)

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open one file, of which nothing is kept in memory; slices that are all zero are taken.

        Raises:
            UserError: the file cannot be read.
        """
        memory = SliceCache(0)
        slices = Slices([open_file(self._source, path)], self.mode, self.stored, memory, "file", empty=True)
        return self.samples(slices, (), memory, "file")

    def write(self, outputs: Sequence[Tensor], source: Path, path: Path) -> None:
        """Write magnitudes to HDF5 (``reconstruction`` [H, W, slices]), NIfTI, NumPy, TIFF, PNG, or a folder of PNGs.

        Raises:
            UserError: an ending that is none of these.
        """
        volume = np.stack([self.to_display(output) for output in outputs], -1)
        write_volume(volume, path, open_file(self._source, source))
