"""Latency of networks for one slice: median over interleaved rounds, so that slow phases affect all networks."""

from __future__ import annotations

import copy
import gc
import math
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
    """Latency of one slice.

    Attributes:
        median_ms: median in milliseconds.
        spread_ms: interquartile range in milliseconds.
        repeats: number of timed runs.
        cpu_ms: median of the CPU time of this process, over all of its threads, in milliseconds; NaN on CUDA. Unlike
            the latency, it does not include the time in which other programs have the CPU.
    """

    median_ms: float
    spread_ms: float
    repeats: int
    cpu_ms: float = math.nan


def ready(network: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """Copy a network in its deployed form: eval mode, on ``device``, 2-D kernels in channels_last.

    Args:
        network: left unchanged.
        device: device of the copy.
    """
    return to_memory_format(copy.deepcopy(network).eval(), device)


def first_slice(batch: Batch, device: torch.device | str = "cpu") -> Batch:
    """Copy the first sample of a batch as a batch of 1, on ``device``, in channels_last.

    Args:
        batch: at least one sample.
        device: device of the copy.

    Raises:
        UserError: an empty batch.
    """
    if len(batch) == 0:
        raise UserError("batch: expected at least 1 sample, got 0")
    single = Batch(
        input=batch.input[:1].clone(),  # a view would keep the whole batch in memory
        target=batch.target[:1].clone(),
        conditions={name: value[:1].clone() for name, value in batch.conditions.items()},
        keys=batch.keys[:1],
        labelled=None if batch.labelled is None else batch.labelled[:1],
    )
    return single.to(device, memory_format=torch.channels_last)


def latency_of_many(
    networks: Mapping[str, nn.Module],
    batch: Batch,
    *,
    repeats: int = 20,
    warm_up: int = 3,
    device: torch.device | str = "cpu",
) -> dict[str, Latency]:
    """Measure the latency of networks on the first sample of a batch.

    Each round runs every network once, starting with a different one, so that a temporary slowdown of the machine
    affects all of them. Networks are timed as copies (``ready``) in inference mode; on CUDA by synchronised events.

    Args:
        networks: networks by name, called as ``network(batch.input, **batch.conditions)``.
        batch: only its first sample is used.
        repeats: number of timed rounds, at least 1.
        warm_up: number of preceding rounds that are not timed.
        device: device of the measurement.

    Returns:
        Latencies by name.

    Raises:
        UserError: ``repeats`` below 1, or an empty batch.
    """
    if repeats < 1:
        raise UserError(f"latency: expected repeats of at least 1, got {repeats}")
    resolved = torch.device(device)
    single = first_slice(batch, resolved)
    runs = {
        name: partial(ready(network, resolved), single.input, **conditions_for(network, single))
        for name, network in networks.items()
    }
    return latency_of_calls(runs, repeats=repeats, warm_up=warm_up, device=resolved)


def latency_of_calls(
    runs: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 20,
    warm_up: int = 3,
    device: torch.device | str = "cpu",
) -> dict[str, Latency]:
    """Measure the latency of functions in interleaved rounds; see ``latency_of_many``.

    Args:
        runs: functions by name.
        repeats: number of timed rounds, at least 1.
        warm_up: number of preceding rounds that are not timed.
        device: on which the functions compute.

    Returns:
        Latencies by name.
    """
    names = list(runs)
    clock = _cuda_milliseconds if torch.device(device).type == "cuda" else _milliseconds
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with torch.inference_mode(), _without_garbage_collection():
        for turn in range(-warm_up, repeats):
            first = turn % len(names) if names else 0
            for name in names[first:] + names[:first]:
                elapsed = clock(runs[name])
                if turn >= 0:
                    times[name].append(elapsed)
    return {name: _summary(values) for name, values in times.items()}


def _summary(times: list[tuple[float, float]]) -> Latency:
    """Return medians and interquartile range of (elapsed, CPU) times in milliseconds."""
    elapsed, computing = np.array(times).T
    low, middle, high = np.quantile(elapsed, [0.25, 0.5, 0.75])
    return Latency(float(middle), float(high - low), len(times), float(np.median(computing)))


def _milliseconds(run: Callable[[], object]) -> tuple[float, float]:
    """Time one call on the CPU; elapsed and CPU time."""
    start, computing = time.perf_counter(), time.process_time()
    run()
    return (time.perf_counter() - start) * 1e3, (time.process_time() - computing) * 1e3


def _cuda_milliseconds(run: Callable[[], object]) -> tuple[float, float]:
    """Time one call with CUDA events; elapsed time, and no CPU time."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end), math.nan


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable the garbage collector, whose pauses would be timed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
