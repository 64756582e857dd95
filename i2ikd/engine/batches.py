"""Batches of an epoch: which samples, in which order, seen how, as a function of the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from i2ikd.engine.processes import require_single_process
from i2ikd.engine.seeds import derive, seed_torch
from i2ikd.errors import UserError
from i2ikd.sample import Batch, Sample, refuse_unsound
from i2ikd.task import SampleDataset

Part = tuple[int, int]
"""Which of how many equal parts of every batch."""

WHOLE: Part = (0, 1)


class BatchSource(Protocol):
    """Where the loop takes its batches from."""

    steps: int
    """Batches an epoch."""
    size: int
    """Samples a batch."""
    stable: bool
    """Whether a sample is the same in every epoch and known by its key, so that what a teacher said can be kept."""

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Batches of one epoch, or a part of each, without the first ``skip``."""
        ...

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in the data's own order, deterministic view."""
        ...


class _AugmentedSamples(Dataset[Sample]):
    """Reads (index, view seed) for torch's DataLoader."""

    def __init__(self, dataset: SampleDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, item: tuple[int, int | None]) -> Sample:
        return self._dataset.sample(*item)


class SampleBatches:
    """Shuffled batches of a task's samples.

    A last batch that is not full is left out when there are others, so that every batch has the same size; which
    samples that concerns changes from epoch to epoch.

    Raises:
        UserError: a dataset without samples.
    """

    def __init__(self, dataset: SampleDataset, batch: int, seed: int, workers: int = 0, pin: bool = False) -> None:
        self._dataset = dataset
        self._seed = seed
        count = len(dataset)
        if count == 0:
            raise UserError("the training split has no slices")
        self.size = min(batch, count)
        self.steps = count // self.size
        self.stable = not dataset.varies
        self._plan: list[list[tuple[int, int | None]]] = []
        self._loader: Iterable[Batch] = DataLoader(
            _AugmentedSamples(dataset),
            batch_sampler=_Plan(self._plan),
            collate_fn=Batch.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
        )

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Batches of epoch ``number``, from batch ``skip`` on; of several parts, only this one's samples are read."""
        which, parts = part
        share = self.size // parts
        mine = slice(which * share, (which + 1) * share)
        order = np.random.default_rng(derive(self._seed, "order", number)).permutation(len(self._dataset))
        chosen = order[: self.steps * self.size].reshape(self.steps, self.size)
        self._plan[:] = [[(int(i), self._view(number, int(i))) for i in row[mine]] for row in chosen[skip:]]
        return iter(self._loader)

    def in_order(self) -> Iterator[Batch]:
        """Every sample once, in order, deterministic view."""
        return ordered(self._dataset, self.size)

    def _view(self, epoch: int, index: int) -> int | None:
        return None if self.stable else derive(self._seed, "view", epoch, index)


class _Plan:
    """The batch sampler that torch's DataLoader reads: what the current epoch has planned."""

    def __init__(self, plan: list[Any]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._plan))

    def __len__(self) -> int:
        return len(self._plan)


def ordered(dataset: SampleDataset, size: int) -> Iterator[Batch]:
    """Batches of the deterministic views, in order; slices of unequal shape are never put into one batch."""
    pending: list[Sample] = []
    for index in range(len(dataset)):
        sample = dataset[index]
        refuse_unsound(sample)
        if pending and (len(pending) == size or sample.input.shape != pending[0].input.shape):
            yield Batch.collate(pending)
            pending = []
        pending.append(sample)
    if pending:
        yield Batch.collate(pending)


class KeptBatches:
    """Batches that are the same every time: put together once and kept, if all of them stay within a limit.

    Args:
        make: puts them together, in order.
        limit_mb: of what is kept; beyond it they are put together each time.
    """

    def __init__(self, make: Callable[[], Iterator[Batch]], limit_mb: float = 256) -> None:
        self._make = make
        self._limit = limit_mb * 2**20
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Batch] = []
        left = self._limit
        for batch in self._make():
            left -= _bytes(batch)
            if left >= 0:
                kept.append(batch)
            else:
                kept.clear()
            yield batch
        if left >= 0:
            self._kept = kept


def _bytes(batch: Batch) -> int:
    tensors = (batch.input, batch.target, *batch.conditions.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class LoaderBatches:
    """Batches of a person's own DataLoader: ``Batch`` objects, or plain ``(input, target)`` pairs.

    Its shuffling is the loader's own affair, so nothing that a teacher said is kept; torch is seeded before each epoch.
    It cannot be divided among processes.

    Raises:
        UserError: a loader without a length or without batches, or one of several processes.
    """

    stable = False

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        require_single_process("training on a loader of your own (i2ikd.distill)")
        self._loader = loader
        self._seed = seed
        try:
            self.steps = len(loader)  # type: ignore[arg-type]
        except TypeError:
            raise UserError(
                "the training loader must have a length: the schedule needs the steps of an epoch"
            ) from None
        if self.steps == 0:
            raise UserError("the training loader gives no batches")
        self.size = int(getattr(loader, "batch_size", None) or 1)

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Batches of one pass over the loader."""
        seed_torch(self._seed, "loader", number)
        for index, item in enumerate(self._loader):
            if index >= skip:
                yield as_batch(item)

    def in_order(self) -> Iterator[Batch]:
        """One pass over the loader."""
        return self.epoch(0)


def as_batch(item: Any) -> Batch:
    """Turn what a loader yields into a Batch.

    Raises:
        UserError: it is neither a Batch nor an ``(input, target)`` pair of [B, C, H, W] tensors.
    """
    if isinstance(item, Batch):
        return item
    if isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(part, torch.Tensor) for part in item):
        source, target = item
        if source.ndim == 4 and target.ndim == 4:
            return Batch(input=source, target=target)
        raise UserError(f"input and target must be [B, C, H, W], not {tuple(source.shape)} and {tuple(target.shape)}")
    raise UserError(f"a loader must yield i2ikd.Batch or (input, target), not {type(item).__name__}")
