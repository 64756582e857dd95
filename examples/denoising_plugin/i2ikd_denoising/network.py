"""Denoising network without batch normalisation, with the noise level as an input."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from i2ikd import UserError


class DenoisingCNN(nn.Module):
    """3x3 convolutions with ReLU that estimate the noise, which is subtracted from the input.

    The noise level is a second input channel, as in FFDNet (arXiv:1710.04026); the residual is that of DnCNN (Zhang et
    al. 2017, arXiv:1608.03981). Without their batch normalisation, an output depends on its own image only, also in
    training.

    Module paths: ``layers.{i}`` is the i-th convolution with its activation; the last convolution has no activation.

    Args:
        depth: number of convolutions, at least 2.
        channels: channels between the convolutions.
    """

    def __init__(self, depth: Annotated[int, Field(ge=2)] = 8, channels: PositiveInt = 32) -> None:
        super().__init__()
        widths = [2, *[channels] * (depth - 1), 1]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, padding=1), *([nn.ReLU()] if index < depth - 1 else []))
                for index, (before, after) in enumerate(pairwise(widths))
            )
        )

    def forward(self, input: Tensor, noise_level: Tensor) -> Tensor:
        """Denoise an image.

        Args:
            input: [B, 1, H, W].
            noise_level: [B, 1, H, W], standard deviation of the noise at every pixel.

        Returns:
            [B, 1, H, W].

        Raises:
            UserError: the input does not have 1 channel.
        """
        if input.shape[1] != 1:
            raise UserError(f"denoising-cnn: expected an input with 1 channel, got {input.shape[1]}")
        noise: Tensor = self.layers(torch.cat([input, noise_level], 1))
        return input - noise
