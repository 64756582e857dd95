"""Costs of the rows of a comparison: parameters, MACs, bytes, and latency in the runtime that a row is delivered in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from i2ikd.deploy.delivered_network import DeliveredNetwork
from i2ikd.evaluation.latency import Latency, first_slice, latency_of_calls, ready
from i2ikd.evaluation.profile import count_macs, count_parameters
from i2ikd.network import apply
from i2ikd.sample import Batch
from i2ikd.torch_threads import torch_threads

EAGER = "torch, eager"
"""Runtime of rows that are no file."""


@dataclass(frozen=True)
class ThreadLatency:
    """Latency of one slice with a number of threads.

    Attributes:
        threads: of the runtime.
        median_ms: median in milliseconds.
        spread_ms: interquartile range in milliseconds.
        cpu_ms: median of the CPU time over all threads, in milliseconds; ``None`` in results of older versions.
    """

    threads: int
    median_ms: float
    spread_ms: float
    cpu_ms: float | None = None


@dataclass(frozen=True)
class Costs:
    """Costs of a network for one slice.

    Attributes:
        params: number of parameters.
        macs: multiply-accumulate operations.
        latency_ms: median with the first number of threads, in milliseconds; ``None`` if not measured.
        latency_spread_ms: interquartile range of this latency, in milliseconds.
        bytes: size of the delivered file, or of the weights in memory of a row that is no file.
        runtime: what computes the row and is timed.
        precision: of the row.
        file: the delivered file, relative to the output folder; ``None`` for a row that is no file.
        full_precision: paths of convolutions that stay float32 in int8.
        latencies: of every number of threads, in order; empty if not measured.
    """

    params: int
    macs: int
    latency_ms: float | None = None
    latency_spread_ms: float | None = None
    bytes: int | None = None
    runtime: str = EAGER
    precision: str = "fp32"
    file: str | None = None
    full_precision: Sequence[str] = ()
    latencies: Sequence[ThreadLatency] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return the costs as JSON values."""
        return {
            **asdict(self),
            "full_precision": list(self.full_precision),
            "latencies": [asdict(latency) for latency in self.latencies],
        }


def measure_costs(
    networks: Mapping[str, nn.Module], example: Batch, threads: Sequence[int], out: Path
) -> dict[str, Costs]:
    """Count and time networks; for each number of threads in interleaved rounds, on the CPU.

    Args:
        networks: by row; rows that share a network share its costs.
        example: its first slice is computed.
        threads: numbers of threads; empty: nothing is timed.
        out: output folder, which paths of files are relative to.
    """
    distinct = {id(network): network for network in networks.values()}
    measured: dict[int, list[ThreadLatency]] = {key: [] for key in distinct}
    for count in threads:
        with torch_threads(count):
            found = latency_of_calls({str(key): _call(network, example) for key, network in distinct.items()})
        for key, latencies in measured.items():
            latency: Latency = found[str(key)]
            latencies.append(ThreadLatency(count, latency.median_ms, latency.spread_ms, latency.cpu_ms))
    counted = {key: _costs(network, example, measured[key], out) for key, network in distinct.items()}
    return {name: counted[id(network)] for name, network in networks.items()}


def _call(network: nn.Module, example: Batch) -> Callable[[], object]:
    """Return the call that is timed: of a file, the runtime on its inputs."""
    single = first_slice(example)
    if isinstance(network, DeliveredNetwork):
        delivered = network.delivered
        return partial(delivered.run, delivered.inputs(single))
    return partial(apply, ready(network), single)


def _costs(network: nn.Module, example: Batch, latencies: Sequence[ThreadLatency], out: Path) -> Costs:
    computed = network.network if isinstance(network, DeliveredNetwork) else network
    first = latencies[0] if latencies else None
    costs = Costs(
        params=count_parameters(computed)[0],
        macs=count_macs(computed, example)[0],
        latency_ms=first.median_ms if first else None,
        latency_spread_ms=first.spread_ms if first else None,
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in computed.state_dict().values()),
        latencies=tuple(latencies),
    )
    if not isinstance(network, DeliveredNetwork):
        return costs
    return _of_file(costs, network, out)


def _of_file(costs: Costs, network: DeliveredNetwork, out: Path) -> Costs:
    """Return costs with what differs for a delivered file."""
    file = network.file
    inside = file.path.resolve().is_relative_to(out.resolve())
    return Costs(
        params=costs.params,
        macs=costs.macs,
        latency_ms=costs.latency_ms,
        latency_spread_ms=costs.latency_spread_ms,
        bytes=file.size_bytes,
        runtime=network.delivered.runtime,
        precision=file.precision,
        file=file.path.resolve().relative_to(out.resolve()).as_posix() if inside else None,
        full_precision=tuple(file.full_precision),
        latencies=costs.latencies,
    )


def thread_counts(stated: Sequence[int], measured: bool) -> list[int]:
    """Return the numbers of threads to time with.

    Args:
        stated: of the experiment; empty: the number that torch has.
        measured: whether latency is measured at all.
    """
    return (list(stated) or [torch.get_num_threads()]) if measured else []
