"""Tiny data sets of pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPLITS = {"train": 3, "val": 1, "test": 2}


def photo(seed: int, shape: tuple[int, ...] = (12, 16, 3)) -> np.ndarray:
    """Return random 8-bit colours, smooth enough to denoise."""
    small = np.random.default_rng(seed).integers(40, 216, (3, 4, *shape[2:]))
    return np.kron(small, np.ones((4, 4, *[1] * (len(shape) - 2)))).astype(np.uint8)


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    noise = 20 * np.random.default_rng(seed + 1000).standard_normal(image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """RGB pairs in input/Train, input/VAL, ... and target/Train, ..."""
    root, seed = tmp_path / "photos", 0
    for split, count in SPLITS.items():
        for number in range(count):
            image, folder = photo(seed), split.upper() if split == "val" else split.title()
            save(root / "target" / folder / f"{split}{number}.png", image)
            save(root / "input" / folder / f"{split}{number}.png", noisy(image, seed))
            seed += 1
    return root


@pytest.fixture
def flat(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes grey pairs of given names without split folders."""

    def write(*names: str) -> Path:
        for seed, name in enumerate(names):
            image = photo(seed, (12, 16))
            save(tmp_path / "flat" / "target" / f"{name}.png", image)
            save(tmp_path / "flat" / "input" / f"{name}.png", noisy(image, seed))
        return tmp_path / "flat"

    return write
