"""VDSR: convolutions of one size whose output is added to the input (Kim et al., CVPR 2016, arXiv:1511.04587)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from i2ikd_mri.kernels.convolution import convolution_block
from pydantic import Field
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd_mri_sr.initial import start_from_the_input


class VDSR(nn.Module):
    """3x3 convolutions with ReLU on the target's grid, learning what to add to the zero-filled image; nothing at first.

    KD-MRI's teacher has 11 convolutions (333,569 parameters), its student 7 (185,857).

    Module paths: ``layers.{i}`` gives the i-th block, after the activation; ``layers.{i}.convolution`` the same before
    the activation; the last block has none and gives what is added to the input.

    Args:
        depth: number of convolutions.
        channels: channels between them.

    >>> sum(parameter.numel() for parameter in VDSR(depth=7).parameters())
    185857
    """

    def __init__(self, depth: Annotated[int, Field(ge=2)] = 11, channels: Annotated[int, Field(ge=1)] = 64) -> None:
        super().__init__()
        if depth < 2:
            raise UserError(f"vdsr: depth = {depth} must be at least 2")
        widths = [1, *[channels] * (depth - 1), 1]
        self.layers = nn.ModuleList(
            convolution_block(inputs, outputs, activated=index < depth - 1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )
        *activated, last = (module for module in self.modules() if isinstance(module, nn.Conv2d))
        start_from_the_input(activated, last)

    def forward(self, input: Tensor) -> Tensor:
        """Sharpen an image [B, 1, H, W] of the target's size.

        Raises:
            UserError: more than one channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"vdsr takes images of 1 channel, not {input.shape[1]}")
        features = input
        for layer in self.layers:
            features = layer(features)
        return input + features
