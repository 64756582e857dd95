"""How long networks take for one slice: median over interleaved rounds, so that their ratios are fair."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from i2ikd.errors import UserError
from i2ikd.network import conditions_for, to_memory_format
from i2ikd.sample import Batch


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one slice: the median, and the distance between the quartiles."""

    median_ms: float
    spread_ms: float
    repeats: int


def ready(network: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """Return a copy as it is deployed: in eval mode, on ``device``, 2-D kernels in channels_last."""
    return to_memory_format(copy.deepcopy(network).eval(), device)


def first_slice(batch: Batch, device: torch.device | str = "cpu") -> Batch:
    """Return a batch of the first sample alone, on ``device``, in channels_last."""
    if len(batch) == 0:
        raise UserError("an empty batch cannot be profiled; give one with at least one sample")
    alone = Batch(
        input=batch.input[:1].clone(),  # a view would keep the whole batch in memory
        target=batch.target[:1].clone(),
        conditions={name: value[:1].clone() for name, value in batch.conditions.items()},
        keys=batch.keys[:1],
    )
    return alone.to(device, memory_format=torch.channels_last)


def latency_of_many(
    networks: Mapping[str, nn.Module],
    batch: Batch,
    *,
    repeats: int = 20,
    warm_up: int = 3,
    device: torch.device | str = "cpu",
) -> dict[str, Latency]:
    """Time networks on the first sample of ``batch``, by name.

    Every round runs each network once, and starts with another one each time: a machine that slows down for a
    while slows all of them. Networks are timed as copies (``ready``), in inference mode; on CUDA by
    synchronised events.

    Args:
        networks: called as ``network(batch.input, **batch.conditions)``.
        batch: its first sample is used.
        repeats: timed rounds, at least 1.
        warm_up: rounds before them that are not timed.
        device: where to run.

    Raises:
        UserError: no timed round, or an empty batch.
    """
    if repeats < 1:
        raise UserError(f"repeats = {repeats}: a latency needs at least 1 timed run")
    where = torch.device(device)
    one = first_slice(batch, where)
    runs = {
        name: partial(ready(network, where), one.input, **conditions_for(network, one))
        for name, network in networks.items()
    }
    names = list(runs)
    clock = _cuda_milliseconds if where.type == "cuda" else _milliseconds
    times: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode(), _without_garbage_collection():
        for turn in range(-warm_up, repeats):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                took = clock(runs[name])
                if turn >= 0:
                    times[name].append(took)
    return {name: _summary(values) for name, values in times.items()}


def _summary(times: list[float]) -> Latency:
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75])
    return Latency(float(middle), float(high - low), len(times))


def _milliseconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def _cuda_milliseconds(run: Callable[[], object]) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
