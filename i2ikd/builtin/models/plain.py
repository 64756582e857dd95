"""A plain convolutional network: the smallest thing that can be a teacher or a student."""

from __future__ import annotations

from itertools import pairwise

from pydantic import PositiveInt
from torch import Tensor, nn

from i2ikd.errors import UserError


class ConvolutionBlock(nn.Sequential):
    """A ``convolution`` and, unless it is the last of its network, an ``activation`` (ReLU, not in place)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, activate: bool) -> None:
        super().__init__()
        self.add_module("convolution", nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2))
        if activate:
            self.add_module("activation", nn.ReLU())


class PlainCNN(nn.Module):
    """``depth`` convolutions of one width with ReLU between them; taps are ``layers.{i}.activation``.

    The image keeps its size (zero padding).

    Args:
        in_channels: channels of the input image.
        out_channels: channels of the output image; as many as the input has when not given.
        depth: number of convolutions.
        channels: width of all but the last.
        kernel: side of the square kernels, an odd number.
        residual: the network learns what to add to its input.

    Raises:
        UserError: an even kernel, or a residual network whose input and output differ in channels.

    >>> import torch
    >>> network = PlainCNN(in_channels=1, depth=3, channels=4)
    >>> network(torch.zeros(2, 1, 9, 7)).shape
    torch.Size([2, 1, 9, 7])
    >>> sum(parameter.numel() for parameter in network.parameters())
    225
    """

    def __init__(
        self,
        in_channels: PositiveInt = 1,
        out_channels: PositiveInt | None = None,
        depth: PositiveInt = 5,
        channels: PositiveInt = 32,
        kernel: PositiveInt = 3,
        residual: bool = True,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        if kernel % 2 == 0:
            raise UserError(f"plain-cnn: kernel = {kernel} would move the image by half a pixel; take an odd one")
        if residual and out_channels != in_channels:
            raise UserError(
                f"plain-cnn: residual = true needs as many output channels ({out_channels}) as input "
                f"channels ({in_channels}); set residual = false"
            )
        widths = [in_channels, *[channels] * (depth - 1), out_channels]
        self.residual = residual
        self.layers = nn.Sequential(
            *(
                ConvolutionBlock(before, after, kernel, activate=index < depth - 1)
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Map [B, in, H, W] to [B, out, H, W]; conditions are ignored."""
        output: Tensor = self.layers(input)
        return input + output if self.residual else output
