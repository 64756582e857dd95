"""Conformance check of tasks: ``check_task``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2ikd.errors import UserError
from i2ikd.sample import Batch, Sample, SampleKey, fits
from i2ikd.task import SampleDataset, Task


def check_task(task: Task, *, splits: Sequence[str] = ("train", "val", "test"), samples: int = 3) -> None:
    """Check a task on the first samples of each split.

    Args:
        task: the task; its data must be available.
        splits: names of the splits with data.
        samples: number of samples of each split to check.

    Raises:
        AssertionError: a violated rule, named in the message.
    """
    name = type(task).__name__
    _check_identity(task)
    owners: dict[str, str] = {}
    for split in splits:
        dataset = task.dataset(split)
        place = f"{name}, split {split!r}"
        _check_keys(dataset, place)
        _check_samples(dataset, place, samples)
        _check_shapes(dataset, place, samples)
        for subject in {key.subject for key in dataset.keys}:
            assert subject not in owners, f"{place}: the subject {subject!r} is also in {owners[subject]!r}"
            owners[subject] = split
    dataset = task.dataset(splits[0])
    first = dataset[0]
    batch = Batch.collate(
        [s for s in (dataset[i] for i in range(min(2, len(dataset)))) if s.input.shape == first.input.shape]
    )
    _check_evaluation(task, batch)
    _check_augmentations(task, splits[0])
    _check_refusal(lambda: task.dataset("no-such-split"), f"{name}.dataset: a split that does not exist")
    unknown = ["no-such-augmentation"]
    _check_refusal(lambda: task.dataset(splits[0], unknown), f"{name}.dataset: an augmentation that does not exist")


def _check_keys(dataset: SampleDataset, place: str) -> None:
    """Check that keys are unique and that slices of one volume are adjacent."""
    keys = list(dataset.keys)
    assert keys, f"{place} has no samples"
    assert len(dataset) == len(keys), f"{place}: {len(dataset)} samples but {len(keys)} keys"
    assert all(isinstance(key, SampleKey) for key in keys), f"{place}: keys are SampleKey(subject, volume, index)"
    assert len(set(keys)) == len(keys), f"{place}: a key occurs twice"
    stated = dataset.simulated
    assert not isinstance(stated, str) and all(isinstance(line, str) for line in stated), (
        f"{place}: simulated is a sequence of statements, got {stated!r}"
    )
    order = [(key.subject, key.volume) for key in keys]
    changes = 1 + sum(a != b for a, b in pairwise(order))
    assert changes == len(set(order)), f"{place}: slices of one volume are not neighbours"


def _check_samples(dataset: SampleDataset, place: str, samples: int) -> None:
    """Check the first samples of a dataset, and that they depend on index and seed alone."""
    for index in range(min(samples, len(dataset))):
        state = torch.get_rng_state()
        sample = dataset[index]
        _check_sample(sample, f"{place}, sample {index}")
        assert sample.key == dataset.keys[index], (
            f"{place}: sample {index} has the key {sample.key}, not {dataset.keys[index]}"
        )
        _same(
            sample,
            dataset.sample(index, None),
            f"{place}: sample {index} without augmentation differs from call to call",
        )
        _same(
            dataset.sample(index, 7),
            dataset.sample(index, 7),
            f"{place}: sample {index} with one augmentation seed differs from call to call",
        )
        if not dataset.varies:
            seeded = dataset.sample(index, 7)
            _same(sample, seeded, f"{place}: sample {index} depends on the augmentation seed; set varies = True")
        assert torch.equal(state, torch.get_rng_state()), f"{place}: a sample uses torch's global random state"


def _check_shapes(dataset: SampleDataset, place: str, samples: int) -> None:
    """Check that the first samples of each stated shape have equal shapes."""
    stated = dataset.shapes
    if stated is None:
        return
    assert len(stated) == len(dataset), f"{place}: {len(dataset)} samples but {len(stated)} shapes"
    first: dict[str, Sample] = {}
    for index in range(min(samples, len(dataset))):
        sample = dataset[index]
        reference = first.setdefault(stated[index], sample)
        assert fits([reference], sample), f"{place}: samples whose shapes are {stated[index]!r} differ in shape"


def _check_sample(sample: Sample, place: str) -> None:
    """Check types and values of a sample's tensors."""
    assert isinstance(sample, Sample), f"{place} is a {type(sample).__name__}, not a Sample"
    for name, image in (("input", sample.input), ("target", sample.target)):
        if name == "target" and image is None:
            continue
        assert isinstance(image, Tensor) and image.ndim == 3, f"{place}: the {name} is not a tensor [C, H, W]"
        assert image.dtype == torch.float32, f"{place}: the {name} is {image.dtype}, not float32"
        assert torch.isfinite(image).all(), f"{place}: the {name} has values that are not finite"
    for name, condition in sample.conditions.items():
        assert isinstance(condition, Tensor), f"{place}: the condition {name!r} is not a tensor"
        assert torch.isfinite(torch.abs(condition)).all(), f"{place}: the condition {name!r} is not finite"


def _tensors(sample: Sample) -> list[Tensor]:
    """Return all tensors of a sample, in a fixed order."""
    target = [] if sample.target is None else [sample.target]
    return [sample.input, *target, *(sample.conditions[name] for name in sorted(sample.conditions))]


def _equal(one: Sample, other: Sample) -> bool:
    """Return whether two samples have the same key and equal tensors."""
    if one.key != other.key or one.conditions.keys() != other.conditions.keys():
        return False
    if (one.target is None) != (other.target is None):
        return False
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other)))


def _same(one: Sample, other: Sample, message: str) -> None:
    """Assert that two samples are equal."""
    assert _equal(one, other), message


def _check_evaluation(task: Task, batch: Batch) -> None:
    """Check loss, baselines, display images, columns and description."""
    name = type(task).__name__
    output = batch.target.clone().requires_grad_(True)
    loss = task.loss(output, batch.target).detach()
    assert loss.ndim == 0, f"{name}.loss returns a tensor {list(loss.shape)}, not a scalar"
    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(2))
    worse = task.loss(batch.target + 0.1 * noise, batch.target)
    assert float(loss) < float(worse), f"{name}.loss is not least where the output is the target"
    for row, images in task.baseline(batch).items():
        assert images.shape == batch.target.shape, (
            f"{name}.baseline {row!r} is {list(images.shape)}, the target {list(batch.target.shape)}"
        )
    image = task.to_display(batch.target[0])
    assert isinstance(image, np.ndarray) and image.ndim in (2, 3), (
        f"{name}.to_display returns no array [H, W] or [C, H, W]"
    )
    assert np.issubdtype(image.dtype, np.floating) and np.isfinite(image).all(), (
        f"{name}.to_display returns values that are not finite floating point"
    )
    assert task.columns, f"{name}.columns is empty: the table would have no metric"
    description = task.describe()
    assert all(isinstance(text, str) for item in description.items() for text in item), (
        f"{name}.describe: expected text by text, got {description!r}"
    )


def _check_augmentations(task: Task, split: str) -> None:
    """Check that every augmentation is random, and a function of its seed."""
    name = type(task).__name__
    for augmentation in sorted(task.augmentations):
        dataset = task.dataset(split, [augmentation])
        assert dataset.varies, f"{name}: with the augmentation {augmentation!r} its dataset must set varies = True"
        first, second = dataset.sample(0, 3), dataset.sample(0, 3)
        _same(first, second, f"{name}: the augmentation {augmentation!r} is not a function of its seed")
        drawn = [dataset.sample(0, seed) for seed in range(16)]
        assert not all(_equal(drawn[0], other) for other in drawn[1:]), (
            f"{name}: the augmentation {augmentation!r} has no effect for 16 seeds"
        )


def _check_refusal(call: Callable[[], Any], what: str) -> None:
    """Check that a call raises ``UserError``."""
    try:
        call()
    except UserError:
        return
    except Exception as error:
        raise AssertionError(f"{what} ends in {type(error).__name__}: {error}; raise UserError") from error
    raise AssertionError(f"{what} is accepted; raise UserError with the existing names")


def _check_identity(task: Task) -> None:
    """Check that the identity is reproducible JSON without absolute paths."""
    name = type(task).__name__
    identity = task.identity()
    try:
        text = json.dumps(identity, sort_keys=True)
    except TypeError as error:
        raise AssertionError(f"{name}.identity cannot be written as JSON: {error}") from error
    assert text == json.dumps(task.identity(), sort_keys=True), f"{name}.identity differs from call to call"
    for value in _texts(identity):
        absolute = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
        assert not absolute, f"{name}.identity contains a path ({value!r}): it must be the same on every machine"


def _texts(value: Any) -> Iterator[str]:
    """Yield all text in nested JSON values, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
