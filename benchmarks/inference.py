"""Measure the inference of one slice, prepared as ``i2ikd profile`` prepares it."""

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
    """Measure inference; one unit is one slice through the network of ``setting.side``."""
    keep_large_blocks()
    network = build_network(default_registry(), "dc-cnn", setting.network(setting.side), 0, setting.side)
    turn.note(operations=inference_operations(network, setting))
    prepared = ready(network, setting.device)
    batch = first_slice(next(ordered(MemorySamples(1, setting.size), 1)), setting.device)
    turn.begin()
    while True:
        prepared(batch.input, **batch.conditions)
        turn.done()
