"""No network is reached, and small networks of both libraries, where these are installed."""

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
    """No test here reaches the network."""


@pytest.fixture
def build() -> Build:
    """Build a network of a library, which is skipped where it is not installed, from a fixed seed."""

    def make(model: str, network: str, /, **settings: Any) -> nn.Module:
        pytest.importorskip(model)
        torch.manual_seed(11)
        made: nn.Module = i2ikd.create("model", model, network=network, **settings)
        return made

    return make
