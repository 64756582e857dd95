"""Batches of an epoch: samples, order and augmentation seeds, as a function of the run's seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, Dataset, get_worker_info

from i2ikd.attribution import describe_error
from i2ikd.bounded_cache import BoundedCache
from i2ikd.errors import UserError
from i2ikd.registry import default_registry
from i2ikd.sample import Batch, Sample, fits, refuse_unsound
from i2ikd.seeds import derive
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
    are dropped changes from epoch to epoch. Samples of different ``shapes`` are in separate batches, whose order is
    that of their first samples.

    Args:
        dataset: the training samples.
        batch: samples per batch; at most the number of samples is used.
        seed: of the order and the augmentations.
        workers: number of reading processes; 0 reads in this process.
        pin: whether batches are put into page-locked memory, for faster copies to a CUDA device.

    Raises:
        UserError: a dataset without samples, or with fewer samples of one shape than a batch has.
    """

    def __init__(self, dataset: SampleDataset, batch: int, seed: int, workers: int = 0, pin: bool = False) -> None:
        self._dataset = dataset
        self._seed = seed
        count = len(dataset)
        if count == 0:
            raise UserError("the training split has no slices")
        self.size = min(batch, count)
        self._groups, sizes = _groups(dataset, self.size)
        self.steps = int((sizes // self.size).sum())
        self.stable = not dataset.varies
        self._plan = _Plan()
        self._loader: Iterable[Batch | UserError] = DataLoader(
            _PlannedBatches(dataset),
            batch_size=None,
            sampler=self._plan,
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
        chosen = self._batches(order)
        self._plan.set(chosen[skip:, columns], partial(self._augmentation_seed, number))
        return self._planned()

    def _planned(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch

    def in_order(self) -> Iterator[Batch]:
        """Return batches of every sample once, in order, without augmentation."""
        return ordered(self._dataset, self.size)

    def _batches(self, order: np.ndarray) -> np.ndarray:
        """Return the samples of every batch [steps, size] from the samples in an order."""
        groups = self._groups[order]
        batches, starts = [], []
        for group in range(int(self._groups.max()) + 1):
            of_group = np.flatnonzero(groups == group)
            places = of_group[: of_group.size // self.size * self.size].reshape(-1, self.size)
            batches.append(order[places])
            starts.append(places[:, 0])
        return np.concatenate(batches)[np.argsort(np.concatenate(starts))]

    def _augmentation_seed(self, epoch: int, index: int) -> int | None:
        """Return the seed of a sample's augmentation in an epoch; ``None``: the dataset has no augmentation."""
        return None if self.stable else derive(self._seed, "view", epoch, index)


def _unchanged(batch: Any) -> Any:
    return batch


def _groups(dataset: SampleDataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the group of equal shapes of every sample [n], and the samples of every group.

    Raises:
        UserError: a group is smaller than a batch, so that its samples would never be trained on.
    """
    shapes = dataset.shapes
    if shapes is None:
        return np.zeros(len(dataset), int), np.array([len(dataset)])
    names, groups, sizes = np.unique(np.array(shapes, object).astype(str), return_inverse=True, return_counts=True)
    if sizes.min() < size:
        few = int(sizes.argmin())
        raise UserError(
            f"training.batch: expected at most {sizes[few]}, the number of training slices of {names[few]}, because a "
            f"batch has slices of one shape, got {size}; set a smaller batch, or give the dataset one size"
        )
    return groups, sizes


class _Plan:
    """Sampler for torch's DataLoader: index and augmentation seed of every sample of the batches of an epoch."""

    def __init__(self) -> None:
        self.set(np.zeros((0, 0), int), lambda index: None)

    def set(self, batches: np.ndarray, seed: Callable[[int], int | None]) -> None:
        """Set the samples [steps, size] of an epoch's batches, and the function that returns a sample's seed."""
        self._batches, self._seed = batches, seed

    def __iter__(self) -> Iterator[list[tuple[int, int | None]]]:
        batches, seed = self._batches, self._seed
        return ([(index, seed(index)) for index in batch.tolist()] for batch in batches)

    def __len__(self) -> int:
        return len(self._batches)


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
