"""Tuned kernels of ``i2ikd_mri.kernels`` against plain torch in a training step: ``python -m benchmarks.kernels``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from unittest import mock

import click
import torch
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.parts import medians
from benchmarks.setting import Setting
from i2ikd.engine.build import build_network
from i2ikd.engine.device import keep_large_blocks, training_format
from i2ikd.evaluation.peak_memory import peak_bytes
from i2ikd.network import to_memory_format
from i2ikd.registry import default_registry

_PLACE = "i2ikd_mri_recon.network.checkpointed"
Recompute = Callable[[nn.Module, nn.Module, Tensor], Tensor]


def kept(first: nn.Module, second: nn.Module, image: Tensor) -> Tensor:
    """Return ``second(first(image))`` and keep everything for the backward pass."""
    output: Tensor = second(first(image))
    return output


def by_torch(first: nn.Module, second: nn.Module, image: Tensor) -> Tensor:
    """Return ``second(first(image))`` and compute ``first`` again in the backward pass, by torch's own checkpoint."""
    output: Tensor = second(checkpoint(first, image, use_reentrant=False))
    return output


VARIANTS: dict[str, tuple[bool, Recompute | None]] = {
    "tuned: thin convolutions, features computed again": (True, None),
    "thin convolutions, features kept": (True, kept),
    "plain convolutions, features computed again": (False, None),
    "plain convolutions, torch.utils.checkpoint": (False, by_torch),
    "plain convolutions, features kept": (False, kept),
}


@click.command()
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
@click.option("--batch", default=4, show_default=True, help="Slices of a step.")
@click.option("--rounds", default=9, show_default=True, help="Interleaved rounds.")
@click.option("--bf16", is_flag=True, help="Under bfloat16 autocast, where both kernels switch themselves off.")
def main(size: int, batch: int, rounds: int, bf16: bool) -> None:
    """Time a step of the DC-CNN student in every variant; medians of interleaved rounds, peak memory of tensors."""
    keep_large_blocks()
    setting = Setting(size=size, batch=batch)
    steps = {name: partial(_step, setting, thin, recompute, bf16) for name, (thin, recompute) in VARIANTS.items()}
    works = {name: make() for name, make in steps.items()}
    taken = medians(works, rounds)
    title = f"step, {batch} x {size} x {size}, {torch.get_num_threads()} threads, {'bf16' if bf16 else 'fp32'}"
    table = Table("variant", "ms", "ratio", "peak (MiB)", title=title)
    least = taken["plain convolutions, features kept"]
    for name, milliseconds in taken.items():
        table.add_row(name, f"{milliseconds:.0f}", f"{milliseconds / least:.2f}", f"{_peak(works[name]) / 2**20:.0f}")
    Console().print(table)


def _step(setting: Setting, thin: bool, recompute: Recompute | None, bf16: bool) -> Callable[[], object]:
    network = build_network(default_registry(), "dc-cnn", setting.network("student"), 0, "student")
    if not thin:
        for module in network.modules():
            if isinstance(module, ThinConvolution):
                module.__class__ = nn.Conv2d
    device = torch.device("cpu")
    to_memory_format(network.train(), device, training_format(device))
    image = torch.rand(setting.batch, 1, setting.size, setting.size).contiguous(memory_format=training_format(device))
    mask = (torch.arange(setting.size) % 2 == 0).float().reshape(1, 1, -1, 1).repeat(setting.batch, 1, 1, 1)
    conditions = {"kspace": torch.fft.fft2(image, norm="ortho") * mask, "mask": mask}

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with _recomputing(recompute), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = (network(image, **conditions).float() - image).abs().mean()
            loss.backward()

    return step


@contextlib.contextmanager
def _recomputing(recompute: Recompute | None) -> Iterator[None]:
    if recompute is None:
        yield
        return
    with mock.patch(_PLACE, recompute):
        yield


def _peak(work: Callable[[], object]) -> int:
    return peak_bytes(work, [], torch.device("cpu"))


if __name__ == "__main__":
    main()
