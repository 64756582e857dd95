"""What every task must satisfy: ``check_task``."""

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
from i2ikd.sample import Batch, Sample, SampleKey
from i2ikd.task import SampleDataset, Task


def check_task(task: Task, *, splits: Sequence[str] = ("train", "val", "test"), samples: int = 3) -> None:
    """Check a task on the first samples of each split.

    Args:
        task: the task; its data must be there.
        splits: those that hold data.
        samples: how many samples of a split are looked at.

    Raises:
        AssertionError: with a sentence that says which rule is broken.
    """
    name = type(task).__name__
    _identifies_itself(task)
    owners: dict[str, str] = {}
    for split in splits:
        dataset = task.dataset(split)
        place = f"{name}, split {split!r}"
        _has_ordered_keys(dataset, place)
        _has_sound_samples(dataset, place, samples)
        for subject in {key.subject for key in dataset.keys}:
            assert subject not in owners, f"{place}: the subject {subject!r} is also in {owners[subject]!r}"
            owners[subject] = split
    dataset = task.dataset(splits[0])
    first = dataset[0]
    batch = Batch.collate(
        [s for s in (dataset[i] for i in range(min(2, len(dataset)))) if s.input.shape == first.input.shape]
    )
    _judges_images(task, batch)
    _makes_its_views(task, splits[0])
    _refuses(lambda: task.dataset("no-such-split"), f"{name}.dataset: a split that does not exist")
    _refuses(lambda: task.dataset(splits[0], ["no-such-view"]), f"{name}.dataset: a view that does not exist")


def _has_ordered_keys(dataset: SampleDataset, place: str) -> None:
    keys = list(dataset.keys)
    assert keys, f"{place} has no samples"
    assert len(dataset) == len(keys), f"{place}: {len(dataset)} samples but {len(keys)} keys"
    assert all(isinstance(key, SampleKey) for key in keys), f"{place}: keys are SampleKey(subject, volume, index)"
    assert len(set(keys)) == len(keys), f"{place}: a key occurs twice"
    order = [(key.subject, key.volume) for key in keys]
    changes = 1 + sum(a != b for a, b in pairwise(order))
    assert changes == len(set(order)), f"{place}: slices of one volume are not neighbours"


def _has_sound_samples(dataset: SampleDataset, place: str, samples: int) -> None:
    for index in range(min(samples, len(dataset))):
        state = torch.get_rng_state()
        sample = dataset[index]
        _is_sound(sample, f"{place}, sample {index}")
        assert sample.key == dataset.keys[index], (
            f"{place}: sample {index} has the key {sample.key}, not {dataset.keys[index]}"
        )
        _same(
            sample,
            dataset.sample(index, None),
            f"{place}: the deterministic view of sample {index} differs from call to call",
        )
        _same(
            dataset.sample(index, 7),
            dataset.sample(index, 7),
            f"{place}: sample {index} with one view seed differs from call to call",
        )
        if not dataset.varies:
            _same(
                sample, dataset.sample(index, 7), f"{place}: sample {index} depends on the view seed; set varies = True"
            )
        assert torch.equal(state, torch.get_rng_state()), f"{place}: a sample draws from torch's global random state"


def _is_sound(sample: Sample, place: str) -> None:
    assert isinstance(sample, Sample), f"{place} is a {type(sample).__name__}, not a Sample"
    for words, image in (("input", sample.input), ("target", sample.target)):
        if words == "target" and image is None:
            continue
        assert isinstance(image, Tensor) and image.ndim == 3, f"{place}: the {words} is no tensor [C, H, W]"
        assert image.dtype == torch.float32, f"{place}: the {words} is {image.dtype}, not float32"
        assert torch.isfinite(image).all(), f"{place}: the {words} has values that are not finite"
    for words, condition in sample.conditions.items():
        assert isinstance(condition, Tensor), f"{place}: the condition {words!r} is no tensor"
        assert torch.isfinite(torch.abs(condition)).all(), f"{place}: the condition {words!r} is not finite"


def _tensors(sample: Sample) -> list[Tensor]:
    target = [] if sample.target is None else [sample.target]
    return [sample.input, *target, *(sample.conditions[name] for name in sorted(sample.conditions))]


def _equal(one: Sample, other: Sample) -> bool:
    if one.key != other.key or one.conditions.keys() != other.conditions.keys():
        return False
    if (one.target is None) != (other.target is None):
        return False
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other)))


def _same(one: Sample, other: Sample, complaint: str) -> None:
    assert _equal(one, other), complaint


def _judges_images(task: Task, batch: Batch) -> None:
    name = type(task).__name__
    output = batch.target.clone().requires_grad_(True)
    loss = task.loss(output, batch.target).detach()
    assert loss.ndim == 0, f"{name}.loss gives {list(loss.shape)}, not a scalar"
    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(2))
    worse = task.loss(batch.target + 0.1 * noise, batch.target)
    assert float(loss) < float(worse), f"{name}.loss is not least where the output is the target"
    for row, image in task.baseline(batch).items():
        assert image.shape == batch.target.shape, (
            f"{name}.baseline {row!r} is {list(image.shape)}, the target {list(batch.target.shape)}"
        )
    view = task.to_display(batch.target[0])
    assert isinstance(view, np.ndarray) and view.ndim == 2, f"{name}.to_display gives no 2-D array"
    assert np.issubdtype(view.dtype, np.floating) and np.isfinite(view).all(), (
        f"{name}.to_display gives no finite floats"
    )
    assert task.columns, f"{name}.columns is empty: the table would have no metric"
    facts = task.describe()
    assert all(isinstance(text, str) for item in facts.items() for text in item), f"{name}.describe gives text by text"


def _makes_its_views(task: Task, split: str) -> None:
    name = type(task).__name__
    for view in sorted(task.augmentations):
        dataset = task.dataset(split, [view])
        assert dataset.varies, f"{name}: with the random view {view!r} its dataset must say varies = True"
        _same(dataset.sample(0, 3), dataset.sample(0, 3), f"{name}: the view {view!r} is not a function of its seed")
        drawn = [dataset.sample(0, seed) for seed in range(16)]
        assert not all(_equal(drawn[0], other) for other in drawn[1:]), (
            f"{name}: the view {view!r} changes nothing in 16 seeds"
        )


def _refuses(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except UserError:
        return
    except Exception as error:
        raise AssertionError(f"{what} ends in {type(error).__name__}: {error}; raise UserError") from error
    raise AssertionError(f"{what} is accepted; raise UserError and name what exists")


def _identifies_itself(task: Task) -> None:
    name = type(task).__name__
    identity = task.identity()
    try:
        text = json.dumps(identity, sort_keys=True)
    except TypeError as error:
        raise AssertionError(f"{name}.identity cannot be written as JSON: {error}") from error
    assert text == json.dumps(task.identity(), sort_keys=True), f"{name}.identity differs from call to call"
    for value in _texts(identity):
        absolute = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
        assert not absolute, f"{name}.identity holds a path ({value!r}): it must be the same on every machine"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
