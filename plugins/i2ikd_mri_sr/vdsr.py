"""VDSR: a CNN whose output is added to its input (Kim et al., CVPR 2016, arXiv:1511.04587)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from i2ikd_mri.kernels.convolution import convolution_block
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd.limits import require_layers
from i2ikd_mri_sr.initial import start_from_the_input


class VDSR(nn.Module):
    """3x3 convolutions with ReLU on the target's grid, whose output is added to the zero-filled image.

    The last convolution has initial weights 0, so that the network starts as the identity. KD-MRI's teacher has 11
    convolutions (333,569 parameters), its student 7 (185,857).

    Module paths: ``layers.{i}`` outputs the features of the i-th block after the activation;
    ``layers.{i}.convolution`` the features before the activation; the last block has no activation and outputs the
    correction of the input.

    Args:
        depth: number of convolutions, at least 2.
        channels: channels between the convolutions.

    Raises:
        UserError: ``depth`` is below 2.

    >>> sum(parameter.numel() for parameter in VDSR(depth=7).parameters())
    185857
    """

    def __init__(self, depth: Annotated[int, Field(ge=2)] = 11, channels: PositiveInt = 64) -> None:
        super().__init__()
        if depth < 2:
            raise UserError(f"vdsr: expected depth >= 2, got depth = {depth}")
        require_layers(f"vdsr: depth = {depth}, channels = {channels}", depth, 9 * depth * channels**2)
        widths = [1, *[channels] * (depth - 1), 1]
        self.layers = nn.ModuleList(
            convolution_block(inputs, outputs, activated=index < depth - 1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )
        *activated, last = (module for module in self.modules() if isinstance(module, nn.Conv2d))
        start_from_the_input(activated, last)

    def forward(self, input: Tensor) -> Tensor:
        """Restore an image of the target's size.

        Args:
            input: zero-filled image [B, 1, H, W].

        Returns:
            [B, 1, H, W].

        Raises:
            UserError: the input does not have 1 channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"vdsr: expected an input with 1 channel, got {input.shape[1]}")
        features = input
        for layer in self.layers:
            features = layer(features)
        return input + features
