"""Samples of the pairs of a split: slices, or patches of them, with random augmentations of input and target alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2ikd import BoundedCache, Sample, SampleDataset, SampleKey, UserError
from i2ikd_pairs.formats.stack import Stack
from i2ikd_pairs.forms import Expected, Form
from i2ikd_pairs.pair import Pair, Part
from i2ikd_pairs.values import to_unit

AUGMENTATIONS = frozenset({"flip", "rotate90"})
"""Random augmentations: each axis reversed with probability 1/2; rotation by 0, 90, 180 or 270 degrees."""


@dataclass(frozen=True)
class Crop:
    """Part of each slice that is a sample.

    Attributes:
        size: (height, width) of the input, in pixels; ``None``: whole slices.
        count: number of samples of each slice.
        random: whether the place is drawn; otherwise it is the centre.
    """

    size: tuple[int, int] | None = None
    count: int = 1
    random: bool = False


class PairSamples(SampleDataset):
    """Samples of a split.

    Args:
        pairs: the pairs.
        forms: of their inputs, in order.
        expected: the form of all pairs.
        crop: the part of each slice that is a sample.
        augmentations: names of ``AUGMENTATIONS``.
        memory: cache of the contents of files.

    Raises:
        UserError: a slice that is smaller than the part, or not square with ``rotate90``.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        forms: Sequence[Form],
        expected: Expected,
        crop: Crop,
        augmentations: Sequence[str],
        memory: BoundedCache[Any],
    ) -> None:
        self._pairs, self._expected, self._crop = pairs, expected, crop
        self._augmentations, self._memory = frozenset(augmentations), memory
        self._places: list[tuple[int, int]] = []
        self._keys: list[SampleKey] = []
        self._shapes: list[str] = []
        moves = False
        for number, (pair, form) in enumerate(zip(pairs, forms)):
            height, width = self._size(form, pair)
            moves |= (height, width) != (form.height, form.width)
            for place in range(form.slices * crop.count):
                self._places.append((number, place // crop.count))
                self._keys.append(SampleKey(pair.subject, pair.name, place))
                self._shapes.append(f"{height} x {width}")
        self.varies = bool(self._augmentations) or (crop.random and moves)

    def _size(self, form: Form, pair: Pair) -> tuple[int, int]:
        """Return the size of a sample's input, checked."""
        height, width = self._crop.size or (form.height, form.width)
        if height > form.height or width > form.width:
            raise UserError(
                f"{pair.input}: expected a slice of at least {height} x {width}, the option patch, got {form.height} x "
                f"{form.width}; set a smaller patch"
            )
        if "rotate90" in self._augmentations and height != width:
            raise UserError(
                f"{pair.input}: augmentation 'rotate90': expected square samples, got {height} x {width}; set patch to "
                "a square"
            )
        return height, width

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys; the index is that of the slice, or counts the patches of all slices."""
        return self._keys

    @property
    def shapes(self) -> Sequence[str]:
        """Size of every sample's input."""
        return self._shapes

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a sample; see ``SampleDataset.sample``."""
        number, place = self._places[index]
        pair, scale = self._pairs[number], self._expected.scale
        image = self._slice(pair.input, place)
        target = None if pair.target is None else self._slice(pair.target, place)
        random = np.random.default_rng(index if seed is None else seed)
        if self._crop.size is not None:
            (height, width), (rows, columns) = self._crop.size, image.shape[-2:]
            top, left = (rows - height) // 2, (columns - width) // 2
            if self._crop.random:
                top, left = int(random.integers(rows - height + 1)), int(random.integers(columns - width + 1))
            image = image[:, top : top + height, left : left + width]
            if target is not None:
                target = target[:, scale * top : scale * (top + height), scale * left : scale * (left + width)]
        if seed is not None:
            image, target = self._augmented(image, target, random)
        return Sample(_tensor(image), None if target is None else _tensor(target), {}, self._keys[index])

    def _augmented(
        self, image: np.ndarray, target: np.ndarray | None, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return input and target [C, H, W] after one random change of both."""
        if "flip" in self._augmentations:
            axes = tuple(axis for axis in (-2, -1) if random.random() < 0.5)
            image, target = np.flip(image, axes), None if target is None else np.flip(target, axes)
        if "rotate90" in self._augmentations:
            turns = int(random.integers(4))
            image = np.rot90(image, turns, (-2, -1))
            target = None if target is None else np.rot90(target, turns, (-2, -1))
        return image, target

    def _slice(self, part: Part, place: int) -> np.ndarray:
        """Return a slice [C, H, W] of the values of the file, for the network."""
        stack: Stack | None = self._memory.get(part)
        if stack is None:
            stack = part.read(self._expected.axes)
            self._memory.put(part, stack, stack.values.nbytes)
        return to_unit(stack.values[place], self._expected.value_range)


class FileSamples(SampleDataset):
    """Slices of one file without target; targets are all zeros, of the size of the result.

    Args:
        stack: content of the file.
        name: of the file.
        expected: the form of the pairs.
    """

    def __init__(self, stack: Stack, name: str, expected: Expected) -> None:
        self._stack, self._name, self._expected = stack, name, expected

    @property
    def keys(self) -> Sequence[SampleKey]:
        """Keys of the slices."""
        return [SampleKey(volume=self._name, index=index) for index in range(len(self._stack.values))]

    def sample(self, index: int, seed: int | None) -> Sample:
        """Return a slice; nothing is random."""
        image = to_unit(self._stack.values[index], self._expected.value_range)
        height, width = (self._expected.scale * side for side in image.shape[-2:])
        return Sample(_tensor(image), torch.zeros(self._expected.target_channels, height, width), {}, self.keys[index])


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, np.float32))
