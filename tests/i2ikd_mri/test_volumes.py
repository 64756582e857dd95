"""A prepared volume reads every slice once: slices read for the scale are cached until their first access."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from i2ikd_mri.volumes import PreparedVolume, SliceChoice

from i2ikd import BoundedCache

STACK = np.random.default_rng(2).random((6, 5, 5), dtype=np.float32)  # H, W, slices


class CountedStack:
    name = "v"

    def __init__(self, reads: list[int]) -> None:
        self.reads = reads

    def __len__(self) -> int:
        return STACK.shape[2]

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        self.reads.append(index)
        return {"image": STACK[:, :, index]}


def test_the_scale_is_computed_once_and_survives_pickling() -> None:
    reads: list[int] = []
    prepared = PreparedVolume(CountedStack(reads), "v")
    for _ in range(3):
        np.testing.assert_allclose(prepared[1]["image"], STACK[:, :, 1] / STACK.max(), rtol=1e-6)
    assert reads == [0, 1, 2, 3, 4, 1, 1]
    copy = pickle.loads(pickle.dumps(prepared))
    assert copy.scale == prepared.scale == STACK.max()


def test_in_the_first_epoch_every_slice_is_read_once() -> None:
    reads: list[int] = []
    prepared = PreparedVolume(CountedStack(reads), "v", slices=SliceChoice(step=2))
    for index in (2, 0, 1):
        np.testing.assert_allclose(prepared[index]["image"], STACK[:, :, 2 * index] / STACK.max(), rtol=1e-6)
    assert sorted(reads) == [0, 1, 2, 3, 4]


def test_slices_read_ahead_are_evicted_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BoundedCache[Any](1.5 * STACK.nbytes / 2**20, policy="evict")
    monkeypatch.setattr("i2ikd_mri.volumes.DECODED", cache)
    reads: list[int] = []
    volumes = [PreparedVolume(CountedStack(reads), name) for name in "ab"]
    first = [volume[0]["image"] for volume in volumes]
    np.testing.assert_array_equal(first[0], first[1])
    volumes[1][1], volumes[0][1]
    assert len(reads) == 5 + 5 + 1, "the slices of the second volume evict those of the first"
