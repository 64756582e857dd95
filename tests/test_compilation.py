"""The bundled networks go into one graph each, in training and in evaluation: nothing breaks ``torch.compile``."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo import explain

from i2ikd import create

NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int, int]]] = {
    "dc-cnn": ("dc-cnn", {"cascades": 2, "depth": 3, "channels": 8}, (1, 12, 10)),
    "dc-cnn complex": ("dc-cnn", {"cascades": 2, "depth": 3, "channels": 8, "mode": "complex"}, (2, 12, 10)),
    "dc-cnn gradient": ("dc-cnn", {"cascades": 2, "channels": 8, "mode": "complex", "multicoil": True}, (2, 12, 10)),
    "dc-cnn cg": ("dc-cnn", {"cascades": 2, "channels": 8, "multicoil": True, "consistency": "cg"}, (1, 12, 10)),
    "varnet": ("varnet", {"cascades": 2, "channels": 4, "pools": 1}, (2, 12, 10)),
    "unet": ("unet", {"channels": 4, "pools": 1}, (1, 12, 10)),
    "vdsr": ("vdsr", {"depth": 3, "channels": 8}, (1, 12, 10)),
    "upsampling-cnn": ("upsampling-cnn", {}, (1, 12, 10)),
    "plain-cnn": ("plain-cnn", {}, (1, 12, 10)),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_one_graph(name: str, training: bool) -> None:
    model, options, shape = NETWORKS[name]
    network = create("model", model, **options).train(training)
    conditions = {}
    if model in ("dc-cnn", "varnet"):
        kspace = torch.fft.fft2(torch.rand(1, 1, *shape[1:]), norm="ortho")
        conditions = {"kspace": kspace, "mask": torch.ones(1, 1, shape[1], 1), "maps": torch.ones_like(kspace)}
    with torch.set_grad_enabled(training):
        found = explain(network)(torch.rand(1, *shape), **conditions)
    assert (found.graph_break_count, found.graph_count) == (0, 1), found.break_reasons


@pytest.mark.filterwarnings("ignore")
def test_a_break_would_be_seen() -> None:
    class Broken(torch.nn.Module):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            doubled = 2 * input
            torch._dynamo.graph_break()
            return doubled + 1

    found = explain(Broken())(torch.rand(1))
    assert (found.graph_break_count, found.graph_count) == (1, 2)
