"""Gradient averaging of the engine against torch's DistributedDataParallel: ``python -m benchmarks.data_parallel``."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import click
import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.setting import Setting
from i2ikd.engine.build import build_network
from i2ikd.engine.device import training_format
from i2ikd.engine.torch_processes import TorchProcessGroup
from i2ikd.network import to_memory_format
from i2ikd.registry import default_registry


@click.command()
@click.option("--processes", default=2, show_default=True, help="Processes on this machine, one thread each.")
@click.option("--size", default=128, show_default=True, help="Side of the slices.")
@click.option("--batch", default=2, show_default=True, help="Slices of each process.")
@click.option("--rounds", default=15, show_default=True, help="Interleaved rounds.")
def main(processes: int, size: int, batch: int, rounds: int) -> None:
    """Time a training step of the DC-CNN student in both ways, over gloo; medians of the first process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = (processes, port, Setting(size=size, batch=batch), rounds)
    torch.multiprocessing.spawn(_measure, arguments, nprocs=processes)  # type: ignore[no-untyped-call]


def _measure(rank: int, processes: int, port: int, setting: Setting, rounds: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    store = dist.TCPStore("127.0.0.1", port, processes, rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    group = TorchProcessGroup(store, rank, processes, rank)
    own, wrapped = _network(setting), DistributedDataParallel(_network(setting))
    parameters = list(own.parameters())
    batch = _batch(setting, rank)

    def averaged() -> None:
        _loss(own, batch).backward()
        group.average(parameters, {})

    ways = {"averaged after the backward pass (the engine)": averaged, "DistributedDataParallel": _step(wrapped, batch)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, step in ways.items():
            own.zero_grad(set_to_none=True)
            wrapped.zero_grad(set_to_none=True)
            dist.barrier()
            start = time.perf_counter()
            step()
            if turn:
                taken[name].append(1e3 * (time.perf_counter() - start))
    own.zero_grad(set_to_none=True)
    wrapped.zero_grad(set_to_none=True)
    averaged()
    _loss(wrapped, batch).backward()
    left, right = (torch.cat([p.grad.flatten() for p in net.parameters()]) for net in (own, wrapped))
    difference = float((left - right).abs().max() / right.abs().max())
    if rank == 0:
        _print(taken, difference, setting, processes)
    dist.destroy_process_group()


def _step(network: nn.Module, batch: dict[str, Tensor]) -> Callable[[], None]:
    return lambda: _loss(network, batch).backward()


def _network(setting: Setting) -> nn.Module:
    network = build_network(default_registry(), "dc-cnn", setting.network("student"), 0, "student")
    return to_memory_format(network.train(), "cpu", training_format(torch.device("cpu")))


def _batch(setting: Setting, rank: int) -> dict[str, Tensor]:
    shape = setting.batch, 1, setting.size, setting.size
    image = torch.rand(shape, generator=torch.Generator().manual_seed(rank))
    image = image.contiguous(memory_format=training_format(torch.device("cpu")))
    mask = (torch.arange(setting.size) % 2 == 0).float().reshape(1, 1, -1, 1).repeat(setting.batch, 1, 1, 1)
    kspace = torch.fft.fft2(image, norm="ortho") * mask
    return {"input": torch.fft.ifft2(kspace, norm="ortho").real, "kspace": kspace, "mask": mask}


def _loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    output: Tensor = network(batch["input"], kspace=batch["kspace"], mask=batch["mask"])
    return (output - batch["input"]).abs().mean()


def _print(taken: dict[str, list[float]], difference: float, setting: Setting, processes: int) -> None:
    table = Table("gradients", "ms", title=f"{processes} x {setting.batch} x {setting.size} x {setting.size}")
    for name, milliseconds in taken.items():
        table.add_row(name, f"{np.median(milliseconds):.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"largest difference of the gradients, relative to the largest gradient: {difference:.1e}", highlight=False
    )


if __name__ == "__main__":
    main()
