"""Batches of the plain loop, in its order, prefetched by a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.samples import MemoryTask
from benchmarks.setting import Setting
from i2ikd.engine.batches import SampleBatches

Item = tuple[dict[str, Tensor], Tensor]
"""Arguments of the network by name, and the target."""


class Endless(IterableDataset[Item]):
    """Batches of one epoch after another, in channels-last."""

    def __init__(self, setting: Setting) -> None:
        self._batches = SampleBatches(MemoryTask(setting).dataset("train"), setting.batch, seed=0)

    def __iter__(self) -> Iterator[Item]:
        epoch = 0
        while True:
            for batch in self._batches.epoch(epoch):
                image = batch.input.contiguous(memory_format=torch.channels_last)
                kspace, mask = batch.conditions["kspace"].to(torch.complex64), batch.conditions["mask"]
                yield {"image": image, "kspace": kspace, "mask": mask}, batch.target
            epoch += 1


def loader(setting: Setting) -> DataLoader[Item]:
    """Return a loader that prepares the next batches in another process."""
    return DataLoader(
        Endless(setting), batch_size=None, num_workers=1, prefetch_factor=2, pin_memory=setting.device == "cuda"
    )


def moved(item: Item, device: str) -> Item:
    """Return a batch on a device."""
    arguments, target = item
    return {name: value.to(device, non_blocking=True) for name, value in arguments.items()}, target.to(device)
