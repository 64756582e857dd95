"""Batches of an epoch: samples, order and augmentation seeds, as a function of the run's seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from i2ikd.attribution import describe_error
from i2ikd.bounded_cache import BoundedCache
from i2ikd.engine.processes import require_single_process
from i2ikd.errors import UserError
from i2ikd.registry import default_registry
from i2ikd.sample import Batch, Sample, fits, refuse_unsound
from i2ikd.seeds import derive, seed_torch
from i2ikd.task import SampleDataset

Part = tuple[int, int]
"""Index of a part of every batch, and the number of equal parts."""

WHOLE: Part = (0, 1)
"""The whole of every batch."""


class BatchSource(Protocol):
    """Source of the batches of a training loop."""

    steps: int
    """Batches per epoch."""
    size: int
    """Samples per batch."""
    stable: bool
    """Whether a sample is the same in every epoch and identified by its key, so that teacher outputs can be cached."""

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Return the batches of one epoch.

        Args:
            number: of the epoch, from 0.
            skip: number of leading batches to leave out.
            part: the part of every batch to return.
        """
        ...

    def in_order(self) -> Iterator[Batch]:
        """Return batches of every sample once, in the order of the data, without augmentation."""
        ...


class _PlannedBatches(Dataset[Batch | UserError]):
    """Map-style dataset for torch's DataLoader: from the (index, augmentation seed) of its samples to a batch.

    A process of the loader returns an error as a value: torch would pass on its traceback as text.
    """

    def __init__(self, dataset: SampleDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, items: list[tuple[int, int | None]]) -> Batch | UserError:
        if get_worker_info() is None:
            return self._batch(items)
        try:
            return self._batch(items)
        except UserError as error:
            return error
        except BaseException as error:  # of a plugin or a library
            return UserError(describe_error(error, default_registry()))

    def _batch(self, items: list[tuple[int, int | None]]) -> Batch:
        return Batch.collate([self._dataset.sample(*item) for item in items])


class SampleBatches:
    """Shuffled batches of a task's samples.

    An incomplete last batch is dropped unless it is the only one, so that every batch has the same size; which samples
    are dropped changes from epoch to epoch.

    Args:
        dataset: the training samples.
        batch: samples per batch; at most the number of samples is used.
        seed: of the order and the augmentations.
        workers: number of reading processes; 0 reads in this process.
        pin: whether batches are put into page-locked memory, for faster copies to a CUDA device.

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
        self._loader: Iterable[Batch | UserError] = DataLoader(
            _PlannedBatches(dataset),
            batch_size=None,
            sampler=_Plan(self._plan),
            collate_fn=_unchanged,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
        )

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Return the batches of epoch ``number``, from batch ``skip`` on; only the samples of ``part`` are read.

        Args:
            number: of the epoch, from 0.
            skip: number of leading batches to leave out.
            part: the part of every batch to return.
        """
        rank, parts = part
        share = self.size // parts
        columns = slice(rank * share, (rank + 1) * share)
        order = np.random.default_rng(derive(self._seed, "order", number)).permutation(len(self._dataset))
        chosen = order[: self.steps * self.size].reshape(self.steps, self.size)
        self._plan[:] = [
            [(int(i), self._augmentation_seed(number, int(i))) for i in row[columns]] for row in chosen[skip:]
        ]
        return self._planned()

    def _planned(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def in_order(self) -> Iterator[Batch]:
        """Return batches of every sample once, in order, without augmentation."""
        return ordered(self._dataset, self.size)

    def _augmentation_seed(self, epoch: int, index: int) -> int | None:
        """Return the seed of a sample's augmentation in an epoch; ``None``: the dataset has no augmentation."""
        return None if self.stable else derive(self._seed, "view", epoch, index)


def _unchanged(batch: Any) -> Any:
    return batch


class _Plan:
    """Sampler for torch's DataLoader: the planned batches of the current epoch."""

    def __init__(self, plan: list[Any]) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._plan))

    def __len__(self) -> int:
        return len(self._plan)


def ordered(dataset: SampleDataset, size: int) -> Iterator[Batch]:
    """Yield batches of samples without augmentation, in order.

    Neighbours that differ in the shape of the input, the target or a condition are in separate batches.

    Args:
        dataset: the samples.
        size: the most samples per batch.

    Raises:
        UserError: an item that is no ``Sample``, or whose images are not [C, H, W] float32.
    """
    pending: list[Sample] = []
    for index in range(len(dataset)):
        sample = dataset[index]
        refuse_unsound(sample)
        if pending and (len(pending) == size or not fits(pending, sample)):
            yield Batch.collate(pending)
            pending = []
        pending.append(sample)
    if pending:
        yield Batch.collate(pending)


class CachedBatches:
    """Iterable of batches that are equal in every iteration, cached if all of them together are within a limit.

    Args:
        make: returns an iterator of the batches, in order.
        limit_mib: the most memory for the cached batches, in MiB; beyond it, every iteration collates them again.
    """

    def __init__(self, make: Callable[[], Iterator[Batch]], limit_mib: float = 256) -> None:
        self._make = make
        self._limit_mib = limit_mib
        self._cached: BoundedCache[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._cached is not None:
            for index in range(len(self._cached)):
                batch = self._cached.get(index)
                assert batch is not None
                yield batch
            return
        cache = BoundedCache[Batch](self._limit_mib, policy="refuse")
        all_fit = True
        for index, batch in enumerate(self._make()):
            all_fit = all_fit and cache.put(index, batch, _bytes(batch))
            if not all_fit:
                cache.clear()
            yield batch
        if all_fit:
            self._cached = cache


def _bytes(batch: Batch) -> int:
    """Return the memory of a batch's tensors, in bytes."""
    tensors = (batch.input, batch.target, *batch.conditions.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


class LoaderBatches:
    """Batches of a DataLoader that the user passes: ``Batch`` objects, or plain ``(input, target)`` pairs.

    The loader determines order and augmentation, so teacher outputs are not cached; torch is seeded before each epoch.
    The batches cannot be divided among processes.

    Args:
        loader: with a length.
        seed: of torch's generators, combined with the epoch.

    Raises:
        UserError: a loader without a length or without batches, or a process group of several processes.
    """

    stable = False

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        require_single_process("training on a loader that you pass (i2ikd.distill)")
        self._loader = loader
        self._seed = seed
        try:
            self.steps = len(loader)  # type: ignore[arg-type]
        except TypeError:
            raise UserError(
                "the training loader must have a length: the schedule needs the steps of an epoch"
            ) from None
        if self.steps == 0:
            raise UserError("the training loader yields no batches")
        self.size = int(getattr(loader, "batch_size", None) or 1)

    def epoch(self, number: int, skip: int = 0, part: Part = WHOLE) -> Iterator[Batch]:
        """Yield the batches of one pass over the loader.

        Args:
            number: of the epoch, from 0; part of the seed.
            skip: number of leading batches to leave out.
            part: not used; the loader is never divided.
        """
        seed_torch(self._seed, "loader", number)
        for index, item in enumerate(self._loader):
            if index >= skip:
                yield as_batch(item)

    def in_order(self) -> Iterator[Batch]:
        """Return the batches of one pass over the loader, in its order."""
        return self.epoch(0)


def as_batch(item: Any) -> Batch:
    """Return an item of a loader as a ``Batch``.

    Args:
        item: a ``Batch`` or an ``(input, target)`` pair of tensors [B, C, H, W].

    Raises:
        UserError: any other item.
    """
    if isinstance(item, Batch):
        return item
    if isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(part, torch.Tensor) for part in item):
        source, target = item
        if source.ndim == 4 and target.ndim == 4:
            return Batch(input=source, target=target)
        raise UserError(f"input and target must be [B, C, H, W], not {tuple(source.shape)} and {tuple(target.shape)}")
    raise UserError(f"a loader must yield i2ikd.Batch or (input, target), not {type(item).__name__}")
