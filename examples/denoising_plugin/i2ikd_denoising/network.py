"""A denoising network without batch normalisation, which is told the noise level."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from i2ikd import UserError


class DenoisingCNN(nn.Module):
    """3x3 convolutions with ReLU that give the noise, which is subtracted; the noise level is a second input channel.

    Residual as in DnCNN (Zhang et al. 2017, arXiv:1608.03981), noise level as in FFDNet (arXiv:1710.04026), without the
    batch normalisation of either: an output depends on its own image alone, in training too.

    Module paths: ``layers.{i}`` is the i-th convolution with its activation; the last has none.

    Args:
        depth: number of convolutions.
        channels: channels between them.
    """

    def __init__(self, depth: Annotated[int, Field(ge=2)] = 8, channels: Annotated[int, Field(ge=1)] = 32) -> None:
        super().__init__()
        widths = [2, *[channels] * (depth - 1), 1]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1), *([nn.ReLU()] if index < depth - 1 else []))
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )

    def forward(self, input: Tensor, noise_level: Tensor) -> Tensor:
        """Clean an image.

        Args:
            input: [B, 1, H, W].
            noise_level: [B, 1, H, W], standard deviation of the noise at every pixel.

        Raises:
            UserError: more than one channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"denoising-cnn takes images of 1 channel, not {input.shape[1]}")
        noise: Tensor = self.layers(torch.cat([input, noise_level], 1))
        return input - noise
