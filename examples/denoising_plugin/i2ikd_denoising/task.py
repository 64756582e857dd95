"""The task: remove noise of a known level from photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, SampleDataset, Task, UserError, VolumeSource, create
from i2ikd.recipe import ComponentRef, Reference
from i2ikd_denoising.reader import PhotographReader
from i2ikd_denoising.samples import NewPhotograph, NoisyCrops


class Denoising(Task):
    """Noisy photographs in, clean ones out.

    Args:
        dataset: a registered dataset by name, with its options; its slices should be in 0..1 and of one size.
        noise: standard deviation of the Gaussian noise, where white is 1. For new data (``i2ikd infer``): the noise
            that it has.
        loss: ``l1`` or ``mse``.
    """

    augmentations: ClassVar[frozenset[str]] = frozenset({"noise", "flip"})
    columns: ClassVar[Mapping[str, str]] = {
        "psnr": "psnr-slice-unit",
        "ssim": "ssim-slice-max",
        "edges": "gradient-psnr-slice-unit",
    }
    tileable = True

    def __init__(
        self,
        dataset: ComponentRef = Reference(name="photographs"),  # noqa: B008 (frozen)
        noise: Annotated[float, Field(gt=0, le=1)] = 0.1,
        loss: Literal["l1", "mse"] = "l1",
    ) -> None:
        self._dataset = Reference.model_validate({"name": dataset} if isinstance(dataset, str) else dataset)
        self._source: VolumeSource = create("dataset", self._dataset.name, **self._dataset.options)
        self._noise = noise
        self._loss = loss

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the noisy crops of a split.

        Raises:
            UserError: an unknown split or view.
        """
        for view in augmentations:
            if view not in self.augmentations:
                raise UserError(f"denoising has no view {view!r}; it has {', '.join(sorted(self.augmentations))}")
        return NoisyCrops(self._source.volumes(split), self._noise, augmentations)

    def identity(self) -> dict[str, Any]:
        """Dataset, noise and loss."""
        return {
            "dataset": {"name": self._dataset.name, **self._source.identity()},
            "noise": self._noise,
            "loss": self._loss,
        }

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean absolute or mean squared difference."""
        function = torch.nn.functional.l1_loss if self._loss == "l1" else torch.nn.functional.mse_loss
        return function(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """The noisy photograph."""
        return {"noisy": batch.input}

    def describe(self) -> dict[str, str]:
        """Dataset and noise level."""
        return {"dataset": self._dataset.name, "noise": f"{self._noise:g}"}

    def reads(self, path: Path) -> bool:
        """Whether ``path`` is a picture; a folder is never one volume."""
        return path.is_file() and path.name.lower().endswith(PhotographReader.suffixes)

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open a noisy photograph.

        Raises:
            UserError: no such file, or not one of a picture.
        """
        if not self.reads(path):
            raise UserError(f"{path}: the task denoising reads {' '.join(PhotographReader.suffixes)}")
        return NewPhotograph(PhotographReader()(path), self._noise)

    def write(self, outputs: Sequence[Tensor], source: Path, path: Path) -> None:
        """Write a picture of 8 bits in the format that the ending of ``path`` says; values outside 0..1 are clipped.

        Raises:
            UserError: an ending that Pillow does not know, or a path that cannot be written.
        """
        (output,) = outputs
        picture = Image.fromarray(np.round(self.to_display(output).clip(0, 1) * 255).astype(np.uint8))
        try:
            picture.save(path)
        except ValueError as error:
            raise UserError(f"{path}: no picture can be written with this ending: {error}") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error}") from None
