"""Ways to hand a trained network over: a torch.export program that runs without this package."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn

from i2ikd.files import write_atomically
from i2ikd.network import conditions_for
from i2ikd.sample import Batch


def torch_export(network: nn.Module, batch: Batch, path: Path) -> None:
    """Write a ``torch.export`` program (``.pt2``) for any number of slices of the example's size.

    Run it with ``torch.export.load(path).module()(input, **conditions)``; neither i2ikd nor the plugin is needed there.

    Args:
        network: in eval mode.
        batch: an example; its conditions are keyword inputs of the program.
        path: where to write.
    """
    two = Batch(
        input=batch.input.repeat(2, 1, 1, 1),
        target=batch.target,
        conditions={name: torch.cat([tensor, tensor]) for name, tensor in conditions_for(network, batch).items()},
    )
    slices = torch.export.Dim("slices", min=1, max=4096)
    shapes = {"input": {0: slices}, **{name: {0: slices} for name in two.conditions}}
    with torch.no_grad():
        program = torch.export.export(network, (two.input,), two.conditions, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomically(path, buffer.getvalue())
