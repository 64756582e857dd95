"""Plain convolutional network with optional residual connection."""

from __future__ import annotations

from itertools import pairwise

from pydantic import PositiveInt
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.limits import require_layers


class ConvolutionBlock(nn.Sequential):
    """Convolution, followed by a ReLU (not in place) if ``activate``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the square kernel, an odd number.
        activate: whether to add the ``activation``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, activate: bool) -> None:
        super().__init__()
        self.add_module("convolution", nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2))
        if activate:
            self.add_module("activation", nn.ReLU())


class PlainCNN(nn.Module):
    """Convolutions of one width with ReLU between them; the image size is preserved by zero padding.

    Taps: ``layers.{i}.activation``.

    Args:
        in_channels: channels of the input image.
        out_channels: channels of the output image; ``in_channels`` when ``None``.
        depth: number of convolutions, at least 1.
        channels: width of all convolutions but the last.
        kernel: side of the square kernels, an odd number.
        residual: whether the input is added to the output.

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
            raise UserError(
                f"plain-cnn: expected an odd kernel size, got {kernel}, which would shift the image by half a pixel"
            )
        if residual and out_channels != in_channels:
            raise UserError(
                f"plain-cnn: residual = true: expected out_channels = in_channels ({in_channels}), got {out_channels}; "
                "set residual = false"
            )
        given = f"plain-cnn: depth = {depth}, channels = {channels}, kernel = {kernel}"
        widest = max(channels, in_channels, out_channels)
        require_layers(given, depth, depth * widest**2 * kernel**2)
        widths = [in_channels, *[channels] * (depth - 1), out_channels]
        self.residual = residual
        self.layers = nn.Sequential(
            *(
                ConvolutionBlock(before, after, kernel, activate=index < depth - 1)
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Compute the output image.

        Args:
            input: [B, in_channels, H, W].
            conditions: ignored.

        Returns:
            [B, out_channels, H, W].
        """
        output: Tensor = self.layers(input)
        return input + output if self.residual else output
