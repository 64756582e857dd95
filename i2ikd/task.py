"""Interface of tasks: data, loss, metrics and baselines of an image-to-image problem, independent of networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from i2ikd.errors import UserError
from i2ikd.inventory import Inventory, summarise_split
from i2ikd.preparation import Preparation
from i2ikd.sample import Batch, Sample, SampleKey, refuse_unsound


class SampleDataset(Dataset[Sample], ABC):
    """Samples of one split, in a fixed order, each identified by its key.

    A sample is a function of its index and, if the dataset ``varies``, of an augmentation seed. No global random state
    is used, so that an interrupted run can be resumed exactly.
    """

    varies: bool = False
    """Whether ``sample`` depends on its seed (random masks, flips); teacher outputs are then not cached."""

    @property
    @abstractmethod
    def keys(self) -> Sequence[SampleKey]:
        """Keys of all samples, in order; slices of one volume are adjacent."""

    @property
    def shapes(self) -> Sequence[str] | None:
        """Description of the shapes of every sample (``320 x 320, 8 coils``), in order; ``None``: all are equal.

        Samples of equal description must have input, target and conditions of equal shapes. A training batch has
        samples of one description.
        """
        return None

    @property
    def simulated(self) -> Sequence[str]:
        """What of the samples is simulated instead of read, one statement each; by default nothing.

        ``data``, ``train``, ``distill``, ``compare`` and ``infer`` print the statements.
        """
        return ()

    @abstractmethod
    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample.

        Args:
            index: from 0 to ``len(self) - 1``.
            seed: of the augmentation; ``None``: without augmentation.
        """

    def __getitem__(self, index: int) -> Sample:
        """Return a sample without augmentation."""
        return self.sample(index, None)

    def __len__(self) -> int:
        return len(self.keys)


class Task(ABC):
    """Image-to-image problem: data, loss, metrics and baselines.

    Options are typed constructor arguments; construction must be cheap (no data is read before ``dataset``).
    """

    augmentations: ClassVar[frozenset[str]] = frozenset()
    """Names of the random augmentations that the task supports (``flip``, ``shift``, ...)."""

    columns: ClassVar[Mapping[str, str]] = {
        "psnr": "psnr-volume-max",
        "ssim": "ssim-volume-max",
        "nmse": "nmse-volume",
        "hfn": "hfn-slice",
    }
    """Names of registered metrics by column of the table. The closed gap is computed from the first."""

    tileable: ClassVar[bool] = False
    """Whether slices can be processed in tiles (``i2ikd infer --tile``): samples have no conditions, or pixel-wise
    ones only."""

    @classmethod
    def propose(cls, folder: Path, size: tuple[int, int] | None = None) -> Mapping[str, tuple[Any, str]] | None:
        """Return settings of ``[task]`` for a folder of data (``i2ikd init --data``); by default the task has none.

        Args:
            folder: folder or file of the data.
            size: (height, width) to which images are to be reduced, as larger ones take too long; a task that does not
                resample ignores it.

        Returns:
            Value and reason by dotted key (``dataset.root``); ``None`` if the task does not read such data.

        Raises:
            UserError: the data is of the task's layout, and faulty.
        """
        return None

    @abstractmethod
    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            augmentations: names of the augmentations to apply; the dataset then ``varies``.

        Raises:
            UserError: an unknown split or augmentation, or missing data.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the JSON values that the samples depend on, without paths; part of the digest of every run."""

    def test_identity(self) -> dict[str, Any]:
        """Return the JSON values that only the test samples depend on, without paths.

        They are part of the validity of scores: a changed test file is scored again, without training again. By default
        none: ``identity`` then includes the test samples.
        """
        return {}

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the training loss, a scalar: by default the mean absolute error.

        Args:
            output: of the network, [B, C, H, W].
            target: [B, C, H, W].
        """
        return torch.nn.functional.l1_loss(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return images of methods that are not learned, by row name (``zero-filled``, ``bicubic``).

        Args:
            batch: the batch.

        Returns:
            Images of the shape of the targets, [B, C, H, W]; by default the input.
        """
        return {"input": batch.input}

    def to_display(self, image: Tensor) -> np.ndarray:
        """Convert an output or target to the image that metrics and figures use.

        Args:
            image: [C, H, W].

        Returns:
            [H, W], floating point; or [C, H, W], whose channels are scored together and, if three, shown as colours.

        Raises:
            UserError: more than one channel, unless the task overrides this method.
        """
        if image.shape[0] != 1:
            raise UserError(
                f"Task.to_display: expected an image with 1 channel, got {image.shape[0]}; "
                f"override the method in {type(self).__name__}"
            )
        return image[0].detach().float().cpu().numpy()

    def describe(self) -> dict[str, str]:
        """Return properties of the data, text by label, for the head of a table (measured acceleration, size, ...)."""
        return {}

    def inventory(self) -> Inventory:
        """Return what the data holds, for the user to verify before training.

        The default is derived from the samples: sizes and values are those of the target, or of the input without one,
        of the first, middle and last slice of each split. Tasks that read files add the files.

        Raises:
            UserError: data is missing, ambiguous or invalid.
        """
        splits = []
        for split in ("train", "val", "test"):
            dataset = self.dataset(split)
            chosen = sorted({0, len(dataset) // 2, len(dataset) - 1}) if len(dataset) else []
            samples = [dataset[index] for index in chosen]
            for sample in samples:
                refuse_unsound(sample)
            images = [(s.input if s.target is None else s.target).detach().cpu().numpy() for s in samples]
            inspected = len({(sample.key.subject, sample.key.volume) for sample in samples})
            splits.append(summarise_split(split, dataset.keys, images, inspected))
        return Inventory(splits)

    def network_options(self) -> dict[str, Any]:
        """Return options that all networks of the task share, by name (``{"mode": "real"}``).

        They are passed to network factories that have an argument of the name; an experiment states them once, in
        ``[task]``.
        """
        return {}

    def reads(self, path: Path, suffixes: Sequence[str]) -> bool:
        """Return whether ``sample_from_file`` can read a path of a folder, by its name.

        Args:
            path: file or folder.
            suffixes: file name endings of the installed readers, in lower case.
        """
        return path.is_file() and path.name.lower().endswith(tuple(suffixes))

    def searches(self, folder: Path) -> bool:
        """Return whether ``i2ikd infer`` searches a folder below its input for volumes; by default every folder.

        Args:
            folder: a folder that is no volume.
        """
        return True

    def sample_from_file(self, path: Path, simulate: bool = False) -> SampleDataset:
        """Open new data for ``i2ikd infer``.

        Args:
            path: file or folder of one volume.
            simulate: whether the input is simulated from the file, as in evaluation (``i2ikd infer --simulate``).
                Otherwise the file is an input of the network, as far as the task reads such files. A task whose method
                lacks the argument does not support it.

        Returns:
            Its samples, whose targets may be missing; ``simulated`` states what is not read from the file.

        Raises:
            UserError: the path cannot be read, or the task does not read single files.
        """
        raise UserError(f"the task {type(self).__name__} does not read single files ({path})")

    def preparation(self) -> Preparation | None:
        """Return how values of a file become inputs of the network without torch, for the program of a bundle.

        It must do what ``sample_from_file`` does with a ``.npy`` file [slices, H, W]; the export of a bundle compares
        the two. By default ``None``: the program reads inputs of the network.
        """
        return None

    def result_name(self, source: Path) -> str:
        """Return the file name of the result of a volume in a folder: that of the source.

        A task that cannot write the format of each file it reads returns another ending for these.

        Args:
            source: file or folder of the volume.
        """
        return source.name

    def check_output(self, path: Path, source: Path, slices: int | None = None) -> None:
        """Raise an error if ``write`` cannot write a path, before anything is computed; by default it accepts all.

        Args:
            path: file or folder to write.
            source: path of the volume that is read.
            slices: number of slices of the volume; ``None``: not known yet.

        Raises:
            UserError: the format is not supported, or not for this volume.
        """
        return

    def write(
        self, outputs: Sequence[Tensor], source: Path, path: Path, scale: Literal["source", "unit"] = "source"
    ) -> None:
        """Write the outputs of one volume to a file.

        Args:
            outputs: [C, H, W] per slice, in order.
            source: path that the volume was read from.
            path: to write to.
            scale: ``source``: in the units of the source, with the scale of the samples undone; ``unit``: as the
                network returned them. A task whose method lacks the argument supports ``source`` only.

        Raises:
            UserError: the path cannot be written, or the task does not write files.
        """
        raise UserError(f"the task {type(self).__name__} does not write files ({path})")
