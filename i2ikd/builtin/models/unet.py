"""U-Net with a timm backbone as encoder, for images of any size and number of channels."""

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
from i2ikd.limits import require_layers
from i2ikd.padding import pad_to_multiple


class DecoderStep(NamedTuple):
    """Geometry of a decoder block.

    Attributes:
        factor: enlargement of height and width.
        skip_channels: channels of the skip connection at the new size; 0 without one.
    """

    factor: int
    skip_channels: int


def decoder_steps(levels: Sequence[Level], in_channels: int) -> list[DecoderStep]:
    """Derive the decoder blocks from the coarsest level of an encoder to the image, which is the last skip connection.

    Args:
        levels: feature maps of the encoder, fine to coarse.
        in_channels: channels of the image.

    Returns:
        One step per block, coarse to fine.

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
    """Nearest-neighbour enlargement, concatenation with the skip connection, two 3x3 convolutions with ReLU.

    Args:
        in_channels: channels of the coarser features.
        out_channels: channels of the output.
        step: geometry of the block.
    """

    def __init__(self, in_channels: int, out_channels: int, step: DecoderStep) -> None:
        super().__init__()
        self.step = step
        self.convolution1 = nn.Conv2d(in_channels + step.skip_channels, out_channels, 3, padding=1)
        self.activation1 = nn.ReLU()
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.activation2 = nn.ReLU()

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        """Compute the block's output.

        Args:
            features: [B, in_channels, h, w].
            skip: [B, skip_channels, factor * h, factor * w]; ``None`` without a skip connection.

        Returns:
            [B, out_channels, factor * h, factor * w].
        """
        larger = F.interpolate(features, scale_factor=float(self.step.factor), mode="nearest")
        joined = larger if skip is None else torch.cat([larger, skip], dim=1)
        inner = self.activation1(self.convolution1(joined))
        output: Tensor = self.activation2(self.convolution2(inner))
        return output


class TimmUNet(nn.Module):
    """U-Net with a timm encoder and a decoder of 3x3 convolutions.

    Taps: ``encoder.*`` and ``decoder.{i}``, coarse to fine. Many encoders apply activations in place: tap their whole
    blocks, not the normalisation layers inside.

    The image is padded at its right and lower edge to a multiple of the encoder's stride (by reflection, or by
    replication of a small image), and the output is cropped to the image's size; taps have the padded size. The padded
    size is at least two strides, because batch normalisation in training needs more than one value per channel.

    Args:
        encoder: name of a timm model with feature maps of decreasing size.
        in_channels: channels of the input image.
        out_channels: channels of the output image; ``in_channels`` when ``None``.
        decoder_channels: width of each decoder block, coarse to fine; 256, 128, ... 16 when ``None``.
        residual: whether the input is added to the output.
        pretrained: whether to start from timm's weights, which are downloaded unless cached.

    Raises:
        UserError: an unknown or unsuitable encoder, a wrong number of decoder widths, or a residual network whose input
            and output differ in channels.

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
                f"timm-unet: residual = true: expected out_channels = in_channels ({in_channels}), got {out_channels}; "
                "set residual = false"
            )
        widest = max([in_channels, out_channels, *(decoder_channels or [])])
        given = f"timm-unet: in_channels = {in_channels}, out_channels = {out_channels}, decoder_channels = "
        require_layers(f"{given}{decoder_channels}", len(decoder_channels or []), 9 * 2 * widest**2)
        self.residual = residual
        self.encoder, levels = feature_encoder(encoder, in_channels, pretrained)
        self.stride = levels[-1].reduction
        steps = decoder_steps(levels, in_channels)
        if decoder_channels is None:
            decoder_channels = [max(16, 256 >> index) for index in range(len(steps))]
        if len(decoder_channels) != len(steps):
            raise UserError(
                f"timm-unet: decoder_channels: expected {len(steps)} widths for the encoder {encoder!r}, "
                f"got {len(decoder_channels)}: {list(decoder_channels)}"
            )
        widths = [levels[-1].channels, *decoder_channels]
        self.decoder = nn.ModuleList(
            DecoderBlock(before, after, step) for before, after, step in zip(widths, widths[1:], steps)
        )
        self.head = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        """Compute the output image.

        Args:
            input: [B, in_channels, H, W] of any size.
            conditions: ignored.

        Returns:
            [B, out_channels, H, W].
        """
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
