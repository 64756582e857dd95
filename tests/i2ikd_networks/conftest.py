"""No network is reached, and small networks of both libraries, where these are installed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import i2ikd

Build = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a model tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def build() -> Build:
    """Build a network of a library, which is skipped where it is not installed, from a fixed seed."""

    def make(model: str, network: str, /, **settings: Any) -> nn.Module:
        pytest.importorskip(model)
        torch.manual_seed(11)
        made: nn.Module = i2ikd.create("model", model, network=network, **settings)
        return made

    return make
