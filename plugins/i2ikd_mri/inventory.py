"""Inventory of the volumes of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from i2ikd import FileSummary, Inventory, SampleDataset, SplitInventory, Volume, VolumeSource
from i2ikd.inventory import summarise_split
from i2ikd.reading_progress import reading
from i2ikd_mri.volumes import PreparedVolume

_FEW = 3
"""Number of volumes of a split that are inspected where each would have to be read for it."""


def inventory_of(source: VolumeSource, datasets: Mapping[str, SampleDataset]) -> Inventory:
    """Return what a dataset holds.

    Args:
        source: the dataset.
        datasets: the samples of each split.

    Raises:
        UserError: a file is invalid.
    """
    splits = [_split(split, samples, source.volumes(split)) for split, samples in datasets.items()]
    summarise = getattr(source, "file_summary", None)
    files: FileSummary | None = None if summarise is None else summarise()
    return Inventory(splits, files)


def _split(split: str, samples: SampleDataset, volumes: Sequence[Volume]) -> SplitInventory:
    prepared = [volume for volume in volumes if isinstance(volume, PreparedVolume)]
    if len(prepared) < len(volumes):
        chosen = [volumes[number] for number in sorted({0, len(volumes) // 2, len(volumes) - 1})]
        images = [_image(volume) for volume in chosen[:_FEW] if len(volume)]
        return summarise_split(split, samples.keys, images, len(images))
    found = [volume.intensities for volume in reading(prepared, "volume")]
    real = [intensities for intensities in found if intensities.low <= intensities.high]
    return SplitInventory(
        split=split,
        subjects=len({key.subject for key in samples.keys}),
        volumes=len(volumes),
        slices=len(samples),
        sizes=dict(Counter(f"{height} x {width}" for volume in prepared for height, width in volume.size_after)),
        types=dict(Counter(kind for intensities in found for kind in intensities.types)),
        low=min((intensities.low for intensities in real), default=None),
        high=max((intensities.high for intensities in real), default=None),
        inspected=len(volumes),
        left_out=sum(volume.left_out for volume in prepared),
    )


def _image(volume: Volume) -> np.ndarray:
    """Return the middle slice [H, W]."""
    fields = volume[len(volume) // 2]
    return np.asarray(fields["image"] if "image" in fields else next(iter(fields.values())))
