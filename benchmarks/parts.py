"""Time single parts of a training step, in milliseconds: ``python -m benchmarks.parts``."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from functools import partial

import click
import numpy as np
import torch
from i2ikd_mri.kernels.thin_convolution import ThinConvolution
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.engine_loop import build_student
from benchmarks.setting import Setting
from i2ikd.engine.device import keep_large_blocks

FORMATS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
Work = Callable[[], object]


@click.command()
@click.option("--size", default=256, show_default=True, help="Side of the slices.")
@click.option("--batch", default=4, show_default=True, help="Slices of a step.")
@click.option("--rounds", default=9, show_default=True, help="Interleaved rounds.")
@click.option("--compiled", is_flag=True, help="Time the student's step instead, with and without torch.compile.")
def main(size: int, batch: int, rounds: int, compiled: bool) -> None:
    """Time 3x3 convolutions of DC-CNN in both memory formats, and as ThinConvolution; medians of the rounds."""
    keep_large_blocks()
    setting = Setting(size=size, batch=batch)
    works = _steps(setting) if compiled else _convolutions(setting)
    table = Table("part", "ms", title=f"{batch} x {size} x {size}, {torch.get_num_threads()} threads")
    for name, milliseconds in medians(works, rounds).items():
        table.add_row(name, f"{milliseconds:.1f}")
    Console().print(table)


def medians(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Run every function once per round, after a warm-up round; return the median milliseconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in taken.items()}


def _convolutions(setting: Setting) -> dict[str, Work]:
    works: dict[str, Work] = {}
    for inputs, outputs in ((setting.channels,) * 2, (1, setting.channels), (setting.channels, 1)):
        kinds = [("contiguous", nn.Conv2d), ("channels-last", nn.Conv2d)]
        if ThinConvolution.pays(inputs, outputs):
            kinds.append(("contiguous", ThinConvolution))
        for layout, kind in kinds:
            layer = kind(inputs, outputs, 3, padding=1).to(memory_format=FORMATS[layout])
            shape = setting.batch, setting.size, setting.size
            image = torch.rand(shape[0], inputs, *shape[1:]).contiguous(memory_format=FORMATS[layout])
            layer.requires_grad_(False)
            name = f"{inputs} to {outputs}, {layout}, {kind.__name__}"
            works[f"{name}: forward"] = partial(layer, image)
            leaf, trained = image.clone(), copy.deepcopy(layer)
            works[f"{name}: image's gradient"] = _backward(layer, leaf, leaf)
            works[f"{name}: weight's gradient"] = _backward(trained, image, trained.weight)
    return works


def _backward(layer: nn.Module, image: Tensor, leaf: Tensor) -> Work:
    """Return the backward pass to one leaf, in a graph where no other tensor needs a gradient."""
    leaf.requires_grad_(True)
    output = layer(image)
    return partial(torch.autograd.grad, output, leaf, torch.rand_like(output), retain_graph=True)


def _steps(setting: Setting) -> dict[str, Work]:
    image = torch.rand(setting.batch, 1, setting.size, setting.size)
    conditions = {"kspace": torch.fft.fft2(image, norm="ortho"), "mask": torch.ones(setting.batch, 1, setting.size, 1)}

    def step(compiled: bool) -> Work:
        network = build_student(setting)
        called = torch.compile(network) if compiled else network
        return lambda: (called(image, **conditions) - image).square().mean().backward()

    return {"step as it is": step(False), "step compiled": step(True)}


if __name__ == "__main__":
    main()
