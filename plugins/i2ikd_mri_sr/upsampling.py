"""Networks on the low-resolution grid with a final sub-pixel convolution (arXiv:1609.05158, arXiv:1707.02921)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Annotated, Literal

from i2ikd_mri.kernels.convolution import convolution_block
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from i2ikd import UserError
from i2ikd.limits import require_layers
from i2ikd_mri_sr.bicubic import enlarge
from i2ikd_mri_sr.initial import start_from_the_input


class ResidualBlock(nn.Module):
    """EDSR's block: ``convolution``, ``activation``, ``projection``, added to the input; without normalisation.

    Source: Lim et al. 2017, arXiv:1707.02921.

    Args:
        channels: channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.ReLU()
        self.projection = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, C, h, w] to the same shape."""
        change: Tensor = self.projection(self.activation(self.convolution(features)))
        return features + change


class UpsamplingCNN(nn.Module):
    """3x3 convolutions on the low-resolution grid, followed by a sub-pixel convolution with initial weights 0.

    For the task ``mri-sr`` with grid = "low" and the same factor. The cost of a pixel is the same on both grids, and
    the low-resolution grid has factor² times fewer pixels.

    Module paths: ``layers.{i}`` outputs the features of the i-th block, ``layers.{depth - 1}`` those that are enlarged;
    ``layers.{i}.convolution`` the input of a block's activation; ``tail`` the correction of the enlarged input.

    Args:
        factor: ratio of the size of the output to that of the input, along both axes, at least 2.
        depth: blocks before the sub-pixel convolution, at least 1; the first is always a convolution with ReLU.
        channels: channels of every block.
        blocks: type of the other blocks: ``plain``: convolution and ReLU (ESPCN uses tanh); ``residual``: EDSR's block
            of two convolutions.
        residual: image to which the output is added: the ``bicubic`` or ``nearest`` enlargement of the input, or
            ``none``.

    Raises:
        UserError: ``depth`` is below 1.

    >>> import torch
    >>> UpsamplingCNN(factor=3, depth=2, channels=4)(torch.zeros(2, 1, 5, 7)).shape
    torch.Size([2, 1, 15, 21])
    """

    def __init__(
        self,
        factor: Annotated[int, Field(ge=2)] = 4,
        depth: PositiveInt = 6,
        channels: PositiveInt = 64,
        blocks: Literal["plain", "residual"] = "plain",
        residual: Literal["bicubic", "nearest", "none"] = "bicubic",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise UserError(f"upsampling-cnn: expected depth >= 1, got depth = {depth}")
        given = f"upsampling-cnn: factor = {factor}, depth = {depth}, channels = {channels}"
        require_layers(given, 2 * depth, 9 * channels * (2 * depth * channels + factor**2))
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
        """Enlarge an image.

        Args:
            input: [B, 1, h, w].

        Returns:
            [B, 1, factor * h, factor * w].

        Raises:
            UserError: the input does not have 1 channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"upsampling-cnn: expected an input with 1 channel, got {input.shape[1]}")
        features = input
        for layer in self.layers:
            features = layer(features)
        output: Tensor = self.tail(features)
        if self.residual == "bicubic":
            return output + enlarge(input, (output.shape[-2], output.shape[-1]))
        if self.residual == "nearest":
            return output + nn.functional.interpolate(input, scale_factor=self.factor, mode="nearest")
        return output
