"""Several networks as one: the mean of their output images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.network import conditions_for
from i2ikd.sample import Batch


class EnsembleMean(nn.Module):
    """Network whose output is the mean of the outputs of its members.

    Module paths: ``members.{i}`` is the i-th network, so ``members.0.cascades.2`` is a tap of the first.

    Args:
        networks: at least one; each is called as ``network(input, **conditions)`` with the conditions that it takes.
    """

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        if not networks:
            raise UserError("mean: expected at least one network, got none")
        self.members = nn.ModuleList(networks)

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Return the mean image [B, C, H, W], at least in float32.

        Raises:
            UserError: members that return images of unequal shape.
        """
        batch = Batch(input, input, conditions)
        outputs = [network(input, **conditions_for(network, batch)) for network in self.members]
        shapes = {tuple(output.shape) for output in outputs}
        if len(shapes) > 1:
            raise UserError(f"mean: expected images of one shape, got {', '.join(map(str, sorted(shapes)))}")
        stacked = torch.stack(outputs)
        return stacked.to(torch.promote_types(stacked.dtype, torch.float32)).mean(0)
