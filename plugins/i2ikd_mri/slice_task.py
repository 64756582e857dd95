"""Base class of the MRI tasks: slices of a dataset by split, augmentations, losses, single files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from i2ikd import (
    BoundedCache,
    Inventory,
    Reference,
    Registry,
    SampleDataset,
    Task,
    UserError,
    Volume,
    VolumeSource,
    default_registry,
)
from i2ikd.split_names import holds_labels
from i2ikd_mri.augmentations import AUGMENTATIONS
from i2ikd_mri.inventory import inventory_of
from i2ikd_mri.output_formats import refuse_output, result_name
from i2ikd_mri.references import named
from i2ikd_mri.single_file import is_volume, open_file, write_volume
from i2ikd_mri.slice_samples import WithoutTargets
from i2ikd_mri.slices import Slices, VolumeSlices
from i2ikd_mri.volumes import SPLITS

UNLABELLED = "unlabelled"
"""Split of samples without a target; no run trains on it unless its objective draws from it."""


class SliceTask(Task):
    """Task whose samples are simulated from fully sampled slices.

    Args:
        dataset: name of a registered dataset, with its options; a table without a name configures ``folder``.
        mode: ``real`` takes the magnitude of complex slices, ``complex`` keeps real and imaginary parts.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        stored: whether undersampled images and k-space stored in the files are read.
        memory_mib: limit of the slices and samples cached in memory, in MiB.
        registry: contains the dataset and its readers; ``None``: the default registry of the process.
        unlabelled: a further dataset, whose training volumes are the split ``unlabelled``.
    """

    name: ClassVar[str]
    augmentations: ClassVar[frozenset[str]] = frozenset(AUGMENTATIONS)

    def __init__(
        self,
        dataset: Reference | str | dict[str, Any],
        mode: Literal["real", "complex"],
        loss: Literal["l1", "mse"],
        stored: bool,
        memory_mib: float,
        registry: Registry | None = None,
        unlabelled: Reference | str | dict[str, Any] | None = None,
    ) -> None:
        self._registry = default_registry() if registry is None else registry
        self._dataset = Reference.model_validate(named(dataset, "folder"))
        self._source: VolumeSource = self._registry.create("dataset", self._dataset.name, self._dataset.options)
        self._unlabelled: VolumeSource | None = None
        if unlabelled is not None:
            reference = Reference.model_validate(named(unlabelled, "folder"))
            self._unlabelled = self._registry.create("dataset", reference.name, reference.options, "task.unlabelled")
        self.mode = mode
        self.criterion = loss
        self.stored = stored
        self._memory = BoundedCache[Any](memory_mib, policy="refuse")
        self._splits: dict[str, VolumeSlices[Any]] = {}

    @classmethod
    def propose(cls, folder: Path, size: tuple[int, int] | None = None) -> Mapping[str, tuple[Any, str]] | None:
        """Return the dataset ``folder`` with the given root; see ``Task.propose``.

        Args:
            folder: the data.
            size: to which slices are resampled.
        """
        if not folder.is_dir():
            return None
        settings: dict[str, tuple[Any, str]] = {"dataset.name": ("folder", "files of MRI")}
        settings["dataset.root"] = str(folder), "as stated"
        if size is not None:
            settings["dataset.size"] = list(size), "resampled through k-space, so that the time suffices"
        return settings

    def slices(
        self, volumes: Sequence[Volume], memory: BoundedCache[Any], name: str, stored: bool, empty: bool = False
    ) -> VolumeSlices[Any]:
        """Return the slices of volumes, by default ``Slices``.

        Args:
            volumes: the volumes.
            memory: cache shared by all splits.
            name: prefix of the keys of the split in ``memory``.
            stored: whether undersampled k-space of the files is read beside a fully sampled image.
            empty: whether slices that are all zero are accepted.
        """
        return Slices(volumes, self.mode, stored, memory, name, empty)

    @abstractmethod
    def samples(self, slices: Any, augmentations: Sequence[str], memory: BoundedCache[Any], name: str) -> SampleDataset:
        """Return samples simulated from slices.

        Args:
            slices: the slices of one split.
            augmentations: names of the random augmentations, applied in training.
            memory: cache shared by all splits.
            name: prefix of the keys of this split in ``memory``.
        """

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Args:
            split: ``train``, ``val`` or ``test``; or ``unlabelled``, whose samples have no target.
            augmentations: names of ``AUGMENTATIONS``.

        Raises:
            UserError: the augmentation or the split does not exist.
        """
        unknown = [name for name in augmentations if name not in self.augmentations]
        if unknown:
            choices = ", ".join(sorted(self.augmentations))
            hint = f"choose from {choices}" if choices else "the task has none: remove training.augmentations"
            raise UserError(f"{self.name}: unknown augmentation {unknown[0]!r}; {hint}")
        if split not in self._splits:
            volumes = self._unlabelled_volumes() if split == UNLABELLED else self._source.volumes(split)
            self._splits[split] = self.slices(volumes, self._memory, split, self.stored)
        samples = self.samples(self._splits[split], augmentations, self._memory, split)
        return WithoutTargets(samples) if split == UNLABELLED else samples

    def _unlabelled_volumes(self) -> Sequence[Volume]:
        if self._unlabelled is None:
            raise UserError(
                f"{self.name}: expected unlabelled data, got none; set task.unlabelled to a dataset, such as "
                '{ root = "DATA/unlabelled", fractions = [1, 0, 0] }'
            )
        return self._unlabelled.volumes("train")

    def identity(self) -> dict[str, Any]:
        """Return task, dataset and loss; part of the digest of a run."""
        return {
            "task": self.name,
            "dataset": {"name": self._dataset.name, **self._source.identity()},
            "loss": self.criterion,
            **({} if self._unlabelled is None else {"unlabelled": dict(self._unlabelled.identity())}),
        }

    def test_identity(self) -> dict[str, Any]:
        """Return the values that the test volumes alone depend on, if the dataset separates them."""
        separate = getattr(self._source, "test_identity", None)
        return {} if separate is None else dict(separate())

    def inventory(self) -> Inventory:
        """Return what the data holds: sizes, types and values as stored, before ``mode`` and scaling.

        Volumes of ``folder`` are read once for it; of other datasets, one slice of up to three volumes of a split.

        Raises:
            UserError: data is missing, ambiguous or invalid.
        """
        return inventory_of(self._source, {split: self.dataset(split) for split in SPLITS})

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the reconstruction loss.

        Args:
            output: [B, C, H, W].
            target: [B, C, H, W].

        Returns:
            Mean absolute (``l1``) or mean squared (``mse``) difference, a scalar.
        """
        function = torch.nn.functional.l1_loss if self.criterion == "l1" else torch.nn.functional.mse_loss
        return function(output, target)

    def to_display(self, image: Tensor) -> np.ndarray:
        """Convert an image for metrics and figures.

        Negative values of one channel stay, so that metrics count them as errors, as in KD-MRI's evaluation.

        Args:
            image: [1, H, W], or [2, H, W] with real and imaginary part.

        Returns:
            [H, W], float32: the channel, or the magnitude of two.
        """
        if image.shape[0] == 1:
            return image[0].detach().float().cpu().numpy()
        return torch.linalg.vector_norm(image.detach().float(), dim=0).cpu().numpy()

    def describe(self) -> dict[str, str]:
        """Return dataset and size of the first test slice, for the head of a table."""
        target = self.dataset("test")[0].target
        assert target is not None, "a test slice has a target"
        height, width = target.shape[-2:]
        return {"dataset": self._dataset.name, "size": f"{height} x {width}"}

    def reads(self, path: Path, suffixes: Sequence[str]) -> bool:
        """Whether a path is a volume for ``sample_from_file``.

        Args:
            path: a file, accepted by its suffix, or a folder, accepted if it holds PNG and TIFF files only.
            suffixes: unused; the suffixes of the readers of the dataset count.
        """
        return is_volume(self._source, path, self._registry)

    def searches(self, folder: Path) -> bool:
        """Whether a folder may hold new data: not if its name states labels or derived data, as in training.

        Args:
            folder: a folder that is no volume.
        """
        return not holds_labels(folder.name)

    def sample_from_file(self, path: Path, simulate: bool = False) -> SampleDataset:
        """Open one file for inference, without a memory cache; slices that are all zero are accepted.

        Args:
            path: the file, or a folder of images that are the slices of one volume.
            simulate: whether the input is simulated from the fully sampled image of the file, as in evaluation.
                Otherwise a k-space in the file is the input, and an image is one only for want of it.

        Raises:
            UserError: the file cannot be read, or has no image to simulate the input from.
        """
        memory = BoundedCache[Any](0, policy="refuse")
        volume = open_file(self._source, path, self._registry)
        slices = self.slices([volume], memory, "file", stored=not simulate, empty=True)
        if simulate and len(slices) and not slices[0].complete:
            raise UserError(
                f"{path}: expected fully sampled data to simulate the input from, got undersampled k-space; omit "
                "--simulate"
            )
        return self.file_samples(slices, simulate, memory)

    def file_options(self) -> dict[str, Any]:
        """Return the options of the dataset that apply to new data, for ``preparation``."""
        options: dict[str, Any] = self._dataset.options if self._dataset.name == "folder" else {}
        reader = options.get("reader")
        size = options.get("size")
        return {
            "normalise": options.get("normalise", "volume"),
            "size": None if size is None else list(size),
            "axis": reader.get("axis") if isinstance(reader, dict) else None,
        }

    def file_samples(self, slices: Any, simulate: bool, memory: BoundedCache[Any]) -> SampleDataset:
        """Return the samples of one file; by default they are those of a split.

        Args:
            slices: of the file, with its k-space unless ``simulate`` is set.
            simulate: whether the input is simulated from the fully sampled image.
            memory: the cache.
        """
        return self.samples(slices, (), memory, "file")

    @property
    def complex_results(self) -> bool:
        """Whether results are complex images."""
        return self.mode == "complex"

    def result_name(self, source: Path) -> str:
        """Return the file name of the result of a volume in a folder: of its format where that can be written.

        Args:
            source: the file, or a folder of pictures or DICOM files.
        """
        return result_name(source, self.complex_results)

    def check_output(self, path: Path, source: Path, slices: int | None = None) -> None:
        """Check that a result can be written; see ``refuse_output``.

        Args:
            path: the result.
            source: the input.
            slices: number of slices of the input; ``None``: not known yet.

        Raises:
            UserError: the format is not written, or not for this input.
        """
        refuse_output(path, source, self.complex_results, slices)

    def write(
        self, outputs: Sequence[Tensor], source: Path, path: Path, scale: Literal["source", "unit"] = "source"
    ) -> None:
        """Write images to HDF5 (``reconstruction`` [H, W, slices]), NIfTI, MGH, NumPy, TIFF, PNG, or a folder of PNGs.

        Args:
            outputs: one image [C, H, W] for each slice; two channels in complex mode are written as complex values.
            source: the input file, with the affine and the header of a NIfTI output.
            path: the output file; see ``write_volume``.
            scale: ``source``: values in the units of the input, multiplied by the scale of the dataset's
                ``normalise``; ``unit``: values of the network.

        Raises:
            UserError: the suffix of ``path`` is not supported, or it cannot be written.
        """
        opened = open_file(self._source, source, self._registry)
        volume = np.stack([self._values(output) for output in outputs], -1)
        if scale == "source":
            volume = volume * np.float32(getattr(opened, "scale", 1.0))
        write_volume(volume, path, opened, in_source_units=scale == "source")

    def _values(self, output: Tensor) -> np.ndarray:
        """Return the values to write [H, W]: complex64 for two channels in complex mode, float32 otherwise."""
        if self.complex_results and output.shape[0] == 2:
            return torch.view_as_complex(output.detach().float().cpu().movedim(0, -1).contiguous()).numpy()
        return self.to_display(output)
