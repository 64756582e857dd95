"""U-Net of fastMRI's baseline: image to image, without data consistency."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import UserError


class UNet(nn.Module):
    """Encoder and decoder of 3x3 convolutions with skip connections, for images of any size from 2^(pools + 1) pixels.

    Each channel of an image is normalised to mean 0 and standard deviation 1, and the output is scaled back. Instance
    normalisation and leaky ReLU follow each convolution. Source: Zbontar et al. 2018, fastMRI, arXiv:1811.08839.

    Module paths: ``encoder.{i}`` and ``decoder.{i}``, fine to coarse and coarse to fine; ``bottleneck``. The last
    decoder block has the size of the image.

    Args:
        channels: channels of the finest level; each coarser one has twice as many.
        pools: number of times that the size is halved.
        residual: whether the input is added to the output; a new network then returns its input.
        mode: ``real``: images with one channel; ``complex``: real and imaginary channels. As in the task.
    """

    def __init__(
        self,
        channels: PositiveInt = 32,
        pools: PositiveInt = 4,
        residual: bool = True,
        mode: Literal["real", "complex"] = "real",
    ) -> None:
        super().__init__()
        self.images = 1 if mode == "real" else 2
        self.mode = mode
        self.residual = residual
        self.smallest = 2 ** (pools + 1)
        widths = [channels << level for level in range(pools + 1)]
        self.encoder = nn.ModuleList(_block(a, b) for a, b in zip([self.images, *widths], widths[:-1]))
        self.bottleneck = _block(widths[-2], widths[-1])
        coarse_to_fine = widths[::-1]
        self.enlargements = nn.ModuleList(_enlargement(a, b) for a, b in pairwise(coarse_to_fine))
        self.decoder = nn.ModuleList(_block(2 * width, width) for width in coarse_to_fine[1:])
        self.head = nn.Conv2d(channels, self.images, 1)
        if residual:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def forward(self, input: Tensor) -> Tensor:
        """Compute the output image.

        Args:
            input: [B, 1, H, W], or [B, 2, H, W] in mode ``complex``.

        Returns:
            Image of the shape of ``input``.

        Raises:
            UserError: the channels do not match ``mode``, or the image is too small.
        """
        if input.shape[1] != self.images or min(input.shape[-2:]) < self.smallest:
            raise UserError(
                f"unet: expected images with {self.images} channel(s) (mode = {self.mode!r}) of at least "
                f"{self.smallest} x {self.smallest} pixels, got {list(input.shape[1:])}; set the task's mode, or lower "
                "pools"
            )
        mean = input.mean((2, 3), keepdim=True)
        deviation = input.std((2, 3), keepdim=True) + torch.finfo(torch.float32).eps
        features = (input - mean) / deviation
        skips = []
        for block in self.encoder:
            features = block(features)
            skips.append(features)
            features = F.avg_pool2d(features, 2)
        features = self.bottleneck(features)
        for enlarge, block in zip(self.enlargements, self.decoder):
            skip = skips.pop()
            larger = enlarge(features)
            missing = skip.shape[-1] - larger.shape[-1], skip.shape[-2] - larger.shape[-2]
            larger = F.pad(larger, (0, missing[0], 0, missing[1]), mode="reflect") if any(missing) else larger
            features = block(torch.cat([larger, skip], 1))
        output: Tensor = self.head(features) * deviation
        return input + output if self.residual else output + mean


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with instance normalisation and leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(0.2),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(0.2),
    )


def _enlargement(inputs: int, outputs: int) -> nn.Sequential:
    """Twice the size, by a transposed convolution."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False), nn.InstanceNorm2d(outputs), nn.LeakyReLU(0.2)
    )
