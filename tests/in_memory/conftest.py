"""Networks and data sets in memory, so small that a comparison takes about a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd


class Edge(i2ikd.Distiller):
    """Distance of the outputs' horizontal differences."""

    uses_taps = False

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def knowledge(self, teacher: i2ikd.Features, batch: i2ikd.Batch) -> i2ikd.Knowledge:
        return {"edges": teacher.image().diff(dim=-1)}

    def forward(self, student: i2ikd.Features, knowledge: i2ikd.Knowledge, batch: i2ikd.Batch) -> Tensor:
        return (student.image().diff(dim=-1) - knowledge["edges"]).abs().pow(self.power).mean()


def network(width: int = 3, layers: int = 3) -> nn.Sequential:
    """Convolutions; activations are at 1, 3, ..."""
    parts: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(layers - 2):
        parts += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*parts, nn.Conv2d(width, 1, 3, padding=1))


@dataclass
class World:
    """A teacher, and noisy images with clean targets, 12 x 12."""

    teacher: nn.Module
    pairs: list[tuple[Tensor, Tensor]]

    def compare(self, **changes: Any) -> i2ikd.ComparisonResult:
        arguments: dict[str, Any] = {
            "teacher": self.teacher,
            "student": network,
            "train": self.pairs[:4],
            "validation": self.pairs[4:6],
            "test": self.pairs[6:],
            "arms": ["imitation"],
            "seeds": 1,
            "epochs": 1,
            "latency": False,
        }
        return i2ikd.compare(**(arguments | changes))


@pytest.fixture(scope="session")
def world() -> World:
    random = torch.Generator().manual_seed(0)
    clean = torch.rand(12, 1, 12, 12, generator=random)
    noisy = clean + 0.1 * torch.rand(12, 1, 12, 12, generator=random)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        teacher = network(5)
    return World(teacher, list(zip(noisy, clean)))


@pytest.fixture(scope="session")
def edge() -> type[Edge]:
    return Edge


@pytest.fixture
def make_network() -> Any:
    return network
