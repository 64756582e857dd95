"""What a network costs for one slice: parameters, multiply-adds (MACs), latency and peak memory."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from i2ikd.bounded_cache import MIB
from i2ikd.evaluation.fourier_cost import FOURIER_OPERATIONS
from i2ikd.evaluation.latency import first_slice, latency_of_many, ready
from i2ikd.evaluation.peak_memory import peak_bytes
from i2ikd.network import conditions_for
from i2ikd.sample import Batch


@dataclass(frozen=True)
class Profile:
    """Costs of one slice.

    Attributes:
        parameters: all of them.
        trainable: those that need a gradient.
        macs: multiply-adds of convolutions, matrix products, attention and Fourier transforms.
        fourier_macs: the Fourier transforms' part of ``macs``.
        latency_ms: median.
        latency_spread_ms: distance between the quartiles.
        peak_memory_mib: of the weights, the slice and all intermediate tensors that are live at one time, in MiB.
        device: what it was measured on.
        threads: CPU threads that torch used.
    """

    parameters: int
    trainable: int
    macs: int
    fourier_macs: int
    latency_ms: float
    latency_spread_ms: float
    peak_memory_mib: float
    device: str
    threads: int

    def as_json(self) -> dict[str, Any]:
        """Return a plain dict."""
        return asdict(self)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Return how many parameters a network has, and how many of them are trainable; shared ones count once.

    >>> count_parameters(nn.Conv2d(1, 4, 3))
    (40, 40)
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trainable in sizes if trainable)


def count_macs(network: nn.Module, batch: Batch) -> tuple[int, int]:
    """Return the multiply-adds of the first sample of ``batch``, and the Fourier transforms' part of them.

    One multiply-add is two of torch's counted operations (``FlopCounterMode``), which leaves out pointwise work
    (bias, ReLU, data consistency). Fourier transforms are counted by ``fourier_cost``. The network runs once before
    it is counted: work of the first call alone, such as the check of a first batch, is no cost of a slice.
    """
    return _macs(ready(network), first_slice(batch))


@torch.no_grad()
def _macs(deployed: nn.Module, one: Batch) -> tuple[int, int]:
    deployed(one.input, **conditions_for(deployed, one))
    with FlopCounterMode(display=False, custom_mapping=FOURIER_OPERATIONS) as counter:
        deployed(one.input, **conditions_for(deployed, one))
    by_operation = counter.get_flop_counts().get("Global", {})
    fourier = sum(count for operation, count in by_operation.items() if operation in FOURIER_OPERATIONS)
    return counter.get_total_flops() // 2, fourier // 2


@torch.no_grad()
def _peak_bytes(deployed: nn.Module, one: Batch, device: torch.device) -> int:
    present = [*deployed.parameters(), *deployed.buffers(), one.input, *one.conditions.values()]
    return peak_bytes(lambda: deployed(one.input, **conditions_for(deployed, one)), present, device)


def profile(
    network: nn.Module,
    batch: Batch,
    *,
    repeats: int = 20,
    warm_up: int = 3,
    device: torch.device | str = "cpu",
) -> Profile:
    """Measure what ``network`` costs for the first sample of ``batch``; the network itself is left as it is.

    Latencies of several networks that are to be compared are better taken together, by ``latency_of_many``.

    Args:
        network: called as ``network(batch.input, **batch.conditions)``.
        batch: its first sample is used.
        repeats: timed runs.
        warm_up: runs before them that are not timed.
        device: where to run.

    Raises:
        UserError: no timed run, or an empty batch.
    """
    where = torch.device(device)
    one, deployed = first_slice(batch, where), ready(network, where)
    macs, fourier_macs = _macs(deployed, one)
    peak = _peak_bytes(deployed, one, where)
    latency = latency_of_many({"network": deployed}, one, repeats=repeats, warm_up=warm_up, device=where)["network"]
    parameters, trainable = count_parameters(network)
    return Profile(
        parameters=parameters,
        trainable=trainable,
        macs=macs,
        fourier_macs=fourier_macs,
        latency_ms=latency.median_ms,
        latency_spread_ms=latency.spread_ms,
        peak_memory_mib=peak / MIB,
        device=device_name(where),
        threads=torch.get_num_threads(),
    )


def device_name(device: torch.device) -> str:
    """Return the name of a device for reports, e.g. ``cpu (x86_64)``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.processor() or platform.machine()})"
