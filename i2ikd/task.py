"""The Task interface: data plus judgement. A task never sees a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from i2ikd.errors import UserError
from i2ikd.sample import Batch, Sample, SampleKey


class SampleDataset(Dataset[Sample], ABC):
    """Samples of one split, in a fixed order, each known by its key.

    A sample is a function of its index and, when the dataset ``varies``, of a view seed: nothing is drawn from a
    global random state, so that an interrupted run can go on exactly where it was.
    """

    varies: bool = False
    """Whether ``sample`` depends on its seed (random masks, flips); a teacher's knowledge is then not cached."""

    @property
    @abstractmethod
    def keys(self) -> Sequence[SampleKey]:
        """The key of every sample, in order; slices of one volume are neighbours."""

    @abstractmethod
    def sample(self, index: int, seed: int | None) -> Sample:
        """Return sample ``index`` as seen with ``seed``; ``None`` is the deterministic view."""

    def __getitem__(self, index: int) -> Sample:
        """Return the deterministic view of a sample."""
        return self.sample(index, None)

    def __len__(self) -> int:
        return len(self.keys)


class Task(ABC):
    """Data plus judgement of an image-to-image problem.

    Options are typed constructor arguments; construction must be cheap (no data is read before ``dataset``).
    """

    augmentations: ClassVar[frozenset[str]] = frozenset()
    """Random training views that the task can make (``flip``, ``shift``, ...)."""

    columns: ClassVar[Mapping[str, str]] = {
        "psnr": "psnr-volume-max",
        "ssim": "ssim-volume-max",
        "nmse": "nmse-volume",
        "hfn": "hfn-slice",
    }
    """Column of the table -> name of the registered metric. The first is the one that closure is about."""

    tileable: ClassVar[bool] = False
    """Whether a part of a slice can be handled alone (``i2ikd infer --tile``): the samples have no conditions, or
    such as are given pixel by pixel."""

    @abstractmethod
    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of ``train``, ``val`` or ``test``, with the named random views."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the task's samples depend on, JSON-able and without paths; part of every run's digest."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of [B, C, H, W] images, a scalar; mean absolute difference unless overridden."""
        return torch.nn.functional.l1_loss(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Non-learned baselines [B, C, H, W] by name of their row (``zero-filled``, ``bicubic``)."""
        return {"input": batch.input}

    def to_display(self, image: Tensor) -> np.ndarray:
        """Turn one output or target [C, H, W] into the 2-D float image that metrics and figures look at."""
        if image.shape[0] != 1:
            raise UserError(f"a task with {image.shape[0]} channels must say how to look at them (Task.to_display)")
        return image[0].detach().float().cpu().numpy()

    def describe(self) -> dict[str, str]:
        """Facts for the head of a table (measured acceleration, dataset, size)."""
        return {}

    def network_options(self) -> dict[str, Any]:
        """Return options that every network of the task must share, by name (``{"mode": "real"}``).

        A network whose factory has an argument of the name gets the value; an experiment states it once, in ``[task]``.
        """
        return {}

    def reads(self, path: Path, suffixes: Sequence[str]) -> bool:
        """Return whether a path, one of many in a folder, is a volume for ``sample_from_file``, by its name.

        Args:
            path: a file or folder.
            suffixes: file name endings of the installed readers, in lower case.
        """
        return path.is_file() and path.name.lower().endswith(tuple(suffixes))

    def sample_from_file(self, path: Path) -> SampleDataset:
        """Open new data for ``i2ikd infer``: samples whose target may be missing (all zeros)."""
        raise UserError(f"the task {type(self).__name__} does not read single files ({path})")

    def write(self, outputs: Sequence[Tensor], source: Path, path: Path) -> None:
        """Write the outputs [C, H, W] of one volume, read from ``source``, to ``path``."""
        raise UserError(f"the task {type(self).__name__} does not write files ({path})")
