"""A U-Net on any timm backbone that gives feature maps, for images of any size and any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd.builtin.models.backbone import Level, feature_encoder
from i2ikd.errors import UserError
from i2ikd.padding import pad_to_multiple


class DecoderStep(NamedTuple):
    """How much a decoder block enlarges, and how many channels join at the new size (0: none)."""

    factor: int
    skip_channels: int


def decoder_steps(levels: Sequence[Level], in_channels: int) -> list[DecoderStep]:
    """Lead from the coarsest level of an encoder back to the image, which is the last skip.

    >>> [tuple(step) for step in decoder_steps([Level(8, 4), Level(16, 8)], in_channels=1)]
    [(2, 8), (2, 0), (2, 1)]
    """
    steps = [
        DecoderStep(coarse.reduction // fine.reduction, fine.channels)
        for fine, coarse in reversed(list(pairwise(levels)))
    ]
    scale = levels[0].reduction
    while scale > 1:
        factor = 2 if scale % 2 == 0 else scale
        scale //= factor
        steps.append(DecoderStep(factor, in_channels if scale == 1 else 0))
    return steps


class DecoderBlock(nn.Module):
    """Enlarge, join with the encoder's features of that size, two 3x3 convolutions with ReLU."""

    def __init__(self, in_channels: int, out_channels: int, step: DecoderStep) -> None:
        super().__init__()
        self.step = step
        self.convolution1 = nn.Conv2d(in_channels + step.skip_channels, out_channels, 3, padding=1)
        self.activation1 = nn.ReLU()
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.activation2 = nn.ReLU()

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        """Map [B, C, h, w] and a skip [B, S, factor h, factor w] to [B, out, factor h, factor w]."""
        larger = F.interpolate(features, scale_factor=float(self.step.factor), mode="nearest")
        joined_processes = larger if skip is None else torch.cat([larger, skip], dim=1)
        inner = self.activation1(self.convolution1(joined_processes))
        output: Tensor = self.activation2(self.convolution2(inner))
        return output


class TimmUNet(nn.Module):
    """Encoder from timm, decoder of convolutions; taps: ``encoder.*`` and ``decoder.{i}``, coarse to fine.

    The image is padded at its right and lower edge to a multiple of the encoder's stride (by reflection; by
    replication where the image is too small for that) and the output is cropped back, so taps see the padded
    size. It is padded to two strides at least, because batch normalisation needs more than one value.
    Many encoders activate in place: there, tap a whole block rather than a normalisation inside it.

    Args:
        encoder: name of a timm model that gives feature maps of decreasing size.
        in_channels: channels of the input image.
        out_channels: channels of the output image; as many as the input has when not given.
        decoder_channels: width of each decoder block, coarse to fine; 256, 128, ... 16 when not given.
        residual: the network learns what to add to its input.
        pretrained: start from timm's weights, which are downloaded when they are not at hand.

    Raises:
        UserError: an encoder that timm does not know or that gives no such feature maps, a wrong number of
            decoder widths, or a residual network whose input and output differ in channels.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, with an encoder of pytorch-image-models (timm).
    """

    def __init__(
        self,
        encoder: str = "resnet18",
        in_channels: PositiveInt = 1,
        out_channels: PositiveInt | None = None,
        decoder_channels: Sequence[PositiveInt] | None = None,
        residual: bool = True,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        out_channels = in_channels if out_channels is None else out_channels
        if residual and out_channels != in_channels:
            raise UserError(
                f"timm-unet: residual = true needs as many output channels ({out_channels}) as input "
                f"channels ({in_channels}); set residual = false"
            )
        self.residual = residual
        self.encoder, levels = feature_encoder(encoder, in_channels, pretrained)
        self.stride = levels[-1].reduction
        steps = decoder_steps(levels, in_channels)
        if decoder_channels is None:
            decoder_channels = [max(16, 256 >> index) for index in range(len(steps))]
        if len(decoder_channels) != len(steps):
            raise UserError(
                f"timm-unet: decoder_channels = {list(decoder_channels)} has {len(decoder_channels)} widths, "
                f"but the encoder {encoder!r} needs {len(steps)}"
            )
        widths = [levels[-1].channels, *decoder_channels]
        self.decoder = nn.ModuleList(
            DecoderBlock(before, after, step) for before, after, step in zip(widths, widths[1:], steps)
        )
        self.head = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Map [B, in, H, W] of any size to [B, out, H, W]; conditions are ignored."""
        rows, columns = input.shape[-2:]
        padded = pad_to_multiple(input, self.stride)
        maps: list[Tensor] = self.encoder(padded)
        features = maps[-1]
        skips = [padded, *maps[:-1]]
        for block in self.decoder:
            assert isinstance(block, DecoderBlock)
            features = block(features, skips.pop() if block.step.skip_channels else None)
        output: Tensor = self.head(features)[..., :rows, :columns]
        return input + output if self.residual else output
