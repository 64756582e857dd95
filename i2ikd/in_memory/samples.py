"""Task of data sets in memory: samples from tensors, pairs, dicts, batches or loaders."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2ikd.engine.loader import as_batch, refuse_no_loader
from i2ikd.errors import UserError
from i2ikd.sample import Batch, Sample, SampleKey, refuse_unsound
from i2ikd.seeds import kept_random_state
from i2ikd.task import SampleDataset, Task

Loss = Callable[[Tensor, Tensor], Tensor]

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Name of the argument by split."""
_REREAD = 16
"""Samples that are read a second time, to find data that is random."""
_FORMS = "i2ikd.Sample, (input, target), or a dict with 'input' and 'target', [C, H, W] each"


class MemoryDataset(SampleDataset):
    """Samples in memory.

    Args:
        samples: in order; those of one volume are adjacent.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of all samples, in order."""
        return [sample.key for sample in self._samples]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample.

        Args:
            index: from 0.
            seed: not used.
        """
        return self._samples[index]


class MemoryTask(Task):
    """Task of three data sets in memory.

    Args:
        splits: samples by split.
        loss: the reconstruction loss ``(output, target) -> scalar``.
        columns: names of registered metrics by column of the table.
    """

    def __init__(self, splits: Mapping[str, Sequence[Sample]], loss: Loss, columns: Mapping[str, str]) -> None:
        self._splits = {split: MemoryDataset(samples) for split, samples in splits.items()}
        self._digests = {split: [digest_of(sample) for sample in samples] for split, samples in splits.items()}
        self._loss = loss
        self.columns = columns  # type: ignore[misc]  # of this data
        self._refuse_repeated()

    def _refuse_repeated(self) -> None:
        """Refuse a test sample or subject that is in another split too."""
        subjects = {split: {key.subject for key in dataset.keys} for split, dataset in self._splits.items()}
        for split in ("train", "val"):
            if straddling := sorted(subjects["test"] & subjects[split]):
                raise UserError(
                    f"test: expected subjects that are in no other data set, {straddling[0]!r} is in "
                    f"{_SPLITS[split]!r} too; divide the data by subject"
                )
            if common := set(self._digests["test"]) & set(self._digests[split]):
                index = next(i for i, digest in enumerate(self._digests["test"]) if digest in common)
                raise UserError(
                    f"test: expected samples that are in no other data set, item {index} and {len(common) - 1} more "
                    f"are in {_SPLITS[split]!r} too; pass data of other subjects"
                )

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            augmentations: none is supported.

        Raises:
            UserError: an unknown split.
        """
        if split not in self._splits:
            raise UserError(f"expected a split among {', '.join(self._splits)}, got {split!r}")
        return self._splits[split]

    def identity(self) -> dict[str, Any]:
        """Return digests of the training and validation samples."""
        return {"loss": repr_of(self._loss), **{split: _joined(self._digests[split]) for split in ("train", "val")}}

    def test_identity(self) -> dict[str, Any]:
        """Return the digest of the test samples."""
        return {"test": _joined(self._digests["test"])}

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss that was passed.

        Args:
            output: [B, C, H, W].
            target: [B, C, H, W].
        """
        return checked_loss(self._loss, output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the input where it has the shape of the target.

        Args:
            batch: the batch.
        """
        return {"input": batch.input} if batch.input.shape == batch.target.shape else {}

    def to_display(self, image: Tensor) -> np.ndarray:
        """Return [H, W] of one channel, or all channels [C, H, W]."""
        values = image.detach().float().cpu().numpy()
        return values[0] if len(values) == 1 else values


def checked_loss(loss: Loss, output: Tensor, target: Tensor) -> Tensor:
    """Return a loss of the user.

    Raises:
        UserError: it is no scalar tensor.
    """
    value = loss(output, target)
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UserError(f"loss: expected a scalar tensor from (output, target), got {found}; return its mean")
    return value.reshape(())


def repr_of(function: object) -> str:
    """Return a name of a function that is the same in every process."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def read_samples(data: Any, name: str) -> list[Sample]:
    """Read a data set or loader once, with a warning if its first samples differ when they are read again.

    Args:
        data: a data set with a length and items, each an ``i2ikd.Sample``, an ``(input, target)`` pair or a dict with
            ``input``, ``target`` and further tensors as conditions, [C, H, W]; or a loader of batches of these. A dict
            may state a ``subject``; without it, every item is a subject of its own.
        name: of the argument.

    Raises:
        UserError: no such data, or none at all.
    """
    if data is None:
        purpose = {"test": "the table", "validation": "the selection of weights"}.get(name, "training")
        raise UserError(f"{name}: expected a data set or loader for {purpose}, got None")
    if not hasattr(type(data), "__getitem__") or not hasattr(type(data), "__len__"):
        refuse_no_loader(data, name)
    elif isinstance(data, Tensor | str | bytes | Mapping):
        raise UserError(f"{name}: expected items of {_FORMS}, got a {type(data).__name__}")
    samples = list(_read(data, name))
    if not samples:
        raise UserError(f"{name}: expected at least one sample, got an empty {type(data).__name__}")
    _warn_of_random_samples(data, name, samples)
    return samples


def _read(data: Any, name: str) -> Iterator[Sample]:
    items: Iterable[Any] = data
    if not hasattr(type(data), "__iter__"):
        items = (data[index] for index in range(len(data)))
    count = 0
    for item in items:
        found = _samples_of(item, name, count)
        count += len(found)
        yield from found


def _warn_of_random_samples(data: Any, name: str, samples: Sequence[Sample]) -> None:
    """Warn if the first samples of a second pass are not among those of the first one, in whatever order."""
    with kept_random_state():
        again = [digest_of(sample) for sample in islice(_read(data, name), _REREAD)]
    if again == [digest_of(sample) for sample in samples[:_REREAD]] or {digest_of(s) for s in samples} >= set(again):
        return
    warnings.warn(
        f"{name}: a second pass over the data returns other samples (a random augmentation, or a random choice of "
        f"samples). i2ikd.compare reads data once, so that every arm, seed and epoch has the {len(samples)} samples of "
        "the first pass. For several draws of each sample, pass a longer data set; i2ikd.distill reads its loader in "
        "every epoch",
        stacklevel=4,
    )


def _samples_of(item: Any, name: str, index: int) -> list[Sample]:
    """Return the samples of one item, a sample or a batch."""
    if isinstance(item, Sample):
        refuse_unsound(item)
        return [item]
    if isinstance(item, Batch):
        return _of_batch(item, name, index)
    subject = item.get("subject") if isinstance(item, Mapping) else None
    source = item.get("input") if isinstance(item, Mapping) else item[0] if isinstance(item, list | tuple) else None
    if isinstance(source, Tensor) and source.ndim == 4:
        return _of_batch(as_batch(item, name), name, index)
    parts = dict(item) if isinstance(item, Mapping) else {}
    if isinstance(item, list | tuple) and len(item) == 2:
        parts = {"input": item[0], "target": item[1]}
    image, target = parts.pop("input", None), parts.pop("target", None)
    if image is None:
        raise UserError(f"{name}: expected items of {_FORMS}, got a {type(item).__name__} as item {index}")
    for word, value in (("input", image), ("target", target)):
        if not (value is None and word == "target") and not (isinstance(value, Tensor) and value.ndim == 3):
            found = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise UserError(f"{name}: expected the {word} of item {index} as a tensor [C, H, W], got {found}")
    conditions = {str(key): value for key, value in parts.items() if isinstance(value, Tensor)}
    label = f"{name} {index}" if subject is None else str(subject)
    key = SampleKey(label, f"{name} {index}", 0)
    return [Sample(image.float(), None if target is None else target.float(), conditions, key)]


def _of_batch(batch: Batch, name: str, index: int) -> list[Sample]:
    samples = []
    for row in range(len(batch)):
        labelled = batch.labelled is None or bool(batch.labelled[row])
        key = batch.keys[row] if batch.keys else SampleKey(volume=f"{name} {index + row}", index=0)
        conditions = {key_: value[row] for key_, value in batch.conditions.items()}
        samples.append(Sample(batch.input[row], batch.target[row] if labelled else None, conditions, key))
    return samples


def digest_of(sample: Sample) -> str:
    """Return a digest of the tensors of a sample."""
    tensors = {"input": sample.input, "target": sample.target, **sample.conditions}
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor is None:
            continue
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        values = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        found.update(values.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _joined(digests: Sequence[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
