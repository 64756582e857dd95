"""Fixtures of the distillers' tests: features of a small teacher and student, and a distiller run on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from i2ikd import Batch, Distiller, Features, TapShapes
from i2ikd.components import get


def features(*shape: int, seed: int, signed: bool = False) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return drawn if signed else drawn.relu()


def batch_of(size: int, height: int = 16, width: int = 12) -> Batch:
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(2, size, 1, height, width, generator=generator)
    return Batch(input=images[0], target=images[1])


@pytest.fixture
def make() -> Callable[..., Distiller]:
    """Build a registered distiller for the shapes of given taps."""

    def build(name: str, teacher: list[Tensor], student: list[Tensor], **options: Any) -> Distiller:
        torch.manual_seed(0)
        distiller: Distiller = get("distiller", name)(**options)
        distiller.build([TapShapes(tuple(t.shape[1:]), tuple(s.shape[1:])) for t, s in zip(teacher, student)])
        return distiller

    return build


@pytest.fixture
def loss(make: Callable[..., Distiller]) -> Callable[..., float]:
    """Return the loss of a registered distiller for one pair of taps, or for lists of them."""

    def run(name: str, teacher: Tensor | list[Tensor], student: Tensor | list[Tensor], **options: Any) -> float:
        theirs = teacher if isinstance(teacher, list) else [teacher]
        ours = student if isinstance(student, list) else [student]
        distiller = make(name, theirs, ours, **options)
        batch = batch_of(len(theirs[0]), *theirs[0].shape[-2:])
        with torch.no_grad():
            knowledge = distiller.knowledge(Features(taps=theirs), batch)
            value = distiller(Features(taps=ours), knowledge, batch)
        assert isinstance(value, Tensor)
        return float(value)

    return run
