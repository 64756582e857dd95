"""Task ``denoising``: removal of noise of a known level from photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from i2ikd import Batch, Registry, SampleDataset, Task, UserError, VolumeSource, default_registry
from i2ikd.recipe import ComponentRef, Reference
from i2ikd_denoising.reader import PhotographReader
from i2ikd_denoising.samples import NewPhotograph, NoisyCrops


class Denoising(Task):
    """Denoising of photographs.

    Args:
        dataset: name of a registered dataset, with its options; slices must be in 0..1 and of one size.
        noise: standard deviation of the Gaussian noise, above 0 and at most 1, where white is 1. For new data
            (``i2ikd infer``): the noise level of the data.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        registry: contains the dataset; ``None``: the default registry of the process.
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
        registry: Registry | None = None,
    ) -> None:
        components = default_registry() if registry is None else registry
        self._dataset = Reference.model_validate({"name": dataset} if isinstance(dataset, str) else dataset)
        self._source: VolumeSource = components.create("dataset", self._dataset.name, self._dataset.options)
        self._noise = noise
        self._loss = loss

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the noisy crops of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            augmentations: names of ``Denoising.augmentations``.

        Raises:
            UserError: the augmentation or the split does not exist.
        """
        for name in augmentations:
            if name not in self.augmentations:
                choices = ", ".join(sorted(self.augmentations))
                raise UserError(f"denoising: unknown augmentation {name!r}; choose from {choices}")
        return NoisyCrops(self._source.volumes(split), self._noise, augmentations)

    def identity(self) -> dict[str, Any]:
        """Return dataset, noise and loss; part of the digest of a run."""
        return {
            "dataset": {"name": self._dataset.name, **self._source.identity()},
            "noise": self._noise,
            "loss": self._loss,
        }

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the reconstruction loss.

        Args:
            output: [B, 1, H, W].
            target: [B, 1, H, W].

        Returns:
            Mean absolute (``l1``) or mean squared (``mse``) difference, a scalar.
        """
        function = torch.nn.functional.l1_loss if self._loss == "l1" else torch.nn.functional.mse_loss
        return function(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the noisy photograph [B, 1, H, W]."""
        return {"noisy": batch.input}

    def describe(self) -> dict[str, str]:
        """Return dataset and noise level, for the head of a table."""
        return {"dataset": self._dataset.name, "noise": f"{self._noise:g}"}

    def reads(self, path: Path, suffixes: Sequence[str] = ()) -> bool:
        """Whether ``path`` is a file with a suffix of the reader; a folder is never one volume."""
        return path.is_file() and path.name.lower().endswith(PhotographReader.suffixes)

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open a noisy photograph.

        Args:
            path: an image file.

        Raises:
            UserError: the file does not exist, or its suffix is not supported.
        """
        if not self.reads(path):
            raise UserError(f"{path}: expected a file with a suffix of {' '.join(PhotographReader.suffixes)}")
        return NewPhotograph(PhotographReader()(path), self._noise)

    def check_output(self, path: Path, source: Path, slices: int | None = None) -> None:
        """Check the suffix of ``path``.

        Args:
            path: the output file.
            source: the input file; not used.
            slices: their number; not used.

        Raises:
            UserError: Pillow does not support the suffix.
        """
        if path.suffix.lower() not in Image.registered_extensions():
            raise UserError(f"{path}: expected the suffix of an image format, such as .png, got {path.suffix!r}")

    def write(self, outputs: Sequence[Tensor], source: Path, path: Path) -> None:
        """Write an image of 8 bits in the format of the suffix of ``path``; values outside 0..1 are clipped.

        Args:
            outputs: one image [1, H, W].
            source: the input file; not used.
            path: the output file.

        Raises:
            UserError: Pillow does not support the suffix, or ``path`` cannot be written.
        """
        (output,) = outputs
        picture = Image.fromarray(np.round(self.to_display(output).clip(0, 1) * 255).astype(np.uint8))
        try:
            picture.save(path)
        except ValueError as error:
            raise UserError(f"{path}: cannot be written, unsupported suffix: {error}") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error}") from None
