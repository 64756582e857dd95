"""Cascade of DC-CNN: a CNN and a data-consistency step."""

from __future__ import annotations

from itertools import pairwise

from i2ikd_mri.coils.consistency import SenseConsistency, SenseMeasurement
from i2ikd_mri.data_consistency import DataConsistency, Measurement
from i2ikd_mri.kernels.checkpointed import checkpointed
from i2ikd_mri.kernels.convolution import convolution_block
from torch import Tensor, nn


class Cascade(nn.Module):
    """CNN followed by a data-consistency step; outputs the image after data consistency.

    Args:
        images: channels of an image: 1 (real) or 2 (complex).
        depth: number of convolutions, at least 2.
        channels: channels between the convolutions.
        kernel: side of the convolutions in pixels, odd.
        residual: whether the input is added to the output of the CNN.
        consistency: the data-consistency step, single-coil or multi-coil.
    """

    def __init__(
        self,
        images: int,
        depth: int,
        channels: int,
        kernel: int,
        residual: bool,
        consistency: DataConsistency | SenseConsistency,
    ) -> None:
        super().__init__()
        widths = [images, *[channels] * (depth - 1), images]
        self.layers = nn.ModuleList(
            convolution_block(inputs, outputs, kernel, activated=index < depth - 1)
            for index, (inputs, outputs) in enumerate(pairwise(widths))
        )
        self.consistency = consistency
        self.residual = residual

    def forward(self, image: Tensor, measurement: Measurement | SenseMeasurement) -> Tensor:
        """Refine an image and enforce data consistency.

        Args:
            image: [B, C, H, W].
            measurement: measured k-space of the batch, of the kind of the data-consistency step.

        Returns:
            Image [B, C, H, W].
        """
        output: Tensor = self.consistency(self.denoise(image), measurement)
        return output

    def denoise(self, image: Tensor) -> Tensor:
        """Apply the CNN without data consistency, [B, C, H, W] to the same shape."""
        features = checkpointed(self.layers[0], self.layers[1], image)
        for layer in self.layers[2:]:
            features = layer(features)
        return image + features if self.residual else features
