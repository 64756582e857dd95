"""Networks that work on the low-resolution grid and enlarge at their end (arXiv:1609.05158, arXiv:1707.02921)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal

from i2ikd_mri.kernels.convolution import convolution_block
from pydantic import Field
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.initial import start_from_the_input


class ResidualBlock(nn.Module):
    """EDSR's block: ``convolution``, ``activation``, ``projection``, added to what went in; no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.ReLU()
        self.projection = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to the same shape."""
        change: Tensor = self.projection(self.activation(self.convolution(features)))
        return features + change


class UpsamplingCNN(nn.Module):
    """3x3 convolutions on the low-resolution grid, then a sub-pixel convolution, which starts at 0.

    For the task ``mri-sr`` with grid = "low" and the same factor. A pixel of the low-resolution grid costs as much as
    one of the target's grid, and there are factor² times fewer.

    Module paths: ``layers.{i}`` gives the i-th block, ``layers.{depth - 1}`` the features that are enlarged;
    ``layers.{i}.convolution`` what goes into a block's activation; ``tail`` what is added to the enlarged input.

    Args:
        factor: how much larger the output is than the input, along both axes.
        depth: blocks before the sub-pixel convolution, the first of which is always a convolution with ReLU.
        channels: of every block.
        blocks: what the others are: ``plain``: convolution and ReLU (ESPCN has tanh); ``residual``: EDSR's block, of
            two convolutions.
        residual: what the output is added to: the ``bicubic`` or ``nearest`` enlargement of the input, or ``none``.

    >>> import torch
    >>> UpsamplingCNN(factor=3, depth=2, channels=4)(torch.zeros(2, 1, 5, 7)).shape
    torch.Size([2, 1, 15, 21])
    """

    def __init__(
        self,
        factor: Annotated[int, Field(ge=2)] = 4,
        depth: Annotated[int, Field(ge=1)] = 6,
        channels: Annotated[int, Field(ge=1)] = 64,
        blocks: Literal["plain", "residual"] = "plain",
        residual: Literal["bicubic", "nearest", "none"] = "bicubic",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise UserError(f"upsampling-cnn: depth = {depth} must be at least 1")
        self.factor = factor
        self.residual = residual
        self.layers = nn.ModuleList([convolution_block(1, channels)])
        for _ in range(depth - 1):
            self.layers.append(convolution_block(channels, channels) if blocks == "plain" else ResidualBlock(channels))
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["convolution"] = last = nn.Conv2d(channels, factor**2, 3, padding=1)
        parts["shuffle"] = nn.PixelShuffle(factor)
        self.tail = nn.Sequential(parts)
        start_from_the_input([m for path, m in self.layers.named_modules() if path.endswith(".convolution")], last)

    def forward(self, input: Tensor) -> Tensor:
        """Enlarge an image [B, 1, h, w] to [B, 1, factor * h, factor * w].

        Raises:
            UserError: more than one channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"upsampling-cnn takes images of 1 channel, not {input.shape[1]}")
        features = input
        for layer in self.layers:
            features = layer(features)
        output: Tensor = self.tail(features)
        if self.residual == "bicubic":
            return output + enlarge(input, (output.shape[-2], output.shape[-1]))
        if self.residual == "nearest":
            return output + nn.functional.interpolate(input, scale_factor=self.factor, mode="nearest")
        return output
