"""A few slices of a split, evenly spaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from i2ikd.sample import Sample, SampleKey
from i2ikd.task import SampleDataset


class EvenSlices(SampleDataset):
    """Evenly spaced samples of a split, in order, without augmentation.

    Args:
        dataset: the split.
        count: the most samples.
    """

    def __init__(self, dataset: SampleDataset, count: int) -> None:
        self._dataset = dataset
        total = len(dataset)
        self._chosen = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of the chosen samples."""
        keys = self._dataset.keys
        return [keys[index] for index in self._chosen]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample without augmentation.

        Args:
            index: among the chosen ones.
            seed: ignored.
        """
        return self._dataset.sample(self._chosen[index], None)
