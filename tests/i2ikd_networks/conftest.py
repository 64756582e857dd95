"""Fixtures: no access to the internet, and small networks of both libraries if installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import i2ikd

Build = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def offline(no_network: None) -> None:
    """Block access to the internet in all tests of this folder."""


@pytest.fixture
def build() -> Build:
    """Return a function that builds a network of a library from a fixed seed, and skips without the library."""

    def make(model: str, network: str, /, **settings: Any) -> nn.Module:
        pytest.importorskip(model)
        torch.manual_seed(11)
        made: nn.Module = i2ikd.create("model", model, network=network, **settings)
        return made

    return make
