"""A simulated scan: an image with phase, seen by coils of smooth complex maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.maps import normalised
from i2ikd_mri.phantom import PhantomDataset
from torch import Tensor

Scan = tuple[Tensor, Tensor]
"""Image [H, W] and true maps [C, H, W], of unit energy at each pixel."""


@pytest.fixture(scope="session")
def scan() -> Callable[[int, tuple[int, int]], Scan]:
    def make(coils: int, size: tuple[int, int]) -> Scan:
        head = PhantomDataset(1, 1, 1, 1, size, noise=0, complex_valued=True).volumes("train")[0][0]["image"]
        rows, columns = (torch.linspace(-1, 1, n) for n in size)
        maps = []
        for angle in np.arange(coils) * 2 * np.pi / coils:
            distance = (rows[:, None] - 1.2 * np.sin(angle)) ** 2 + (columns - 1.2 * np.cos(angle)) ** 2
            maps.append(torch.polar(torch.exp(-distance), 0.8 * rows[:, None] * np.cos(angle) + columns + angle))
        return torch.from_numpy(head.copy()), normalised(torch.stack(maps))

    return make
