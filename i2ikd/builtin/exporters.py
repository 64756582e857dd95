"""Exporters of trained networks: a ``torch.export`` program that runs without this package."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn

from i2ikd.files import write_atomically
from i2ikd.network import conditions_for
from i2ikd.sample import Batch


def torch_export(network: nn.Module, batch: Batch, path: Path) -> None:
    """Write a network as a ``torch.export`` program (``.pt2``) for 1 to 4096 slices of the example's size.

    Run it with ``torch.export.load(path).module()(input, **conditions)``, which needs neither i2ikd nor the plugin.

    Args:
        network: trained network in eval mode.
        batch: an example of 1 slice; its conditions become keyword arguments of the program.
        path: file to write.

    Raises:
        UserError: the file cannot be written.
    """
    example = Batch(  # 2 slices: torch.export specialises on a batch of 1
        input=batch.input.repeat(2, 1, 1, 1),
        target=batch.target,
        conditions={name: torch.cat([tensor, tensor]) for name, tensor in conditions_for(network, batch).items()},
    )
    slices = torch.export.Dim("slices", min=1, max=4096)
    shapes = {"input": {0: slices}, **{name: {0: slices} for name in example.conditions}}
    with torch.no_grad():
        program = torch.export.export(network, (example.input,), example.conditions, dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomically(path, buffer.getvalue())
