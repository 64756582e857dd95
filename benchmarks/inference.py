"""Inference of one slice, deployed as the profile deploys it."""

from __future__ import annotations

import torch

from benchmarks.operations import inference_operations
from benchmarks.samples import MemorySamples
from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd.engine.batches import ordered
from i2ikd.engine.build import build_network
from i2ikd.engine.device import keep_large_blocks
from i2ikd.evaluation.latency import first_slice, ready
from i2ikd.registry import default_registry


@torch.inference_mode()
def run(setting: Setting, turn: Turn) -> None:
    """Make a unit of one slice through the network of ``setting.role``."""
    keep_large_blocks()
    network = build_network(default_registry(), "dc-cnn", setting.network(setting.side), 0, setting.side)
    turn.note(operations=inference_operations(network, setting))
    deployed = ready(network, setting.device)
    batch = first_slice(next(ordered(MemorySamples(1, setting.size), 1)), setting.device)
    turn.begin()
    while True:
        deployed(batch.input, **batch.conditions)
        turn.done()
